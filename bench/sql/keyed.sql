-- Orders counted and summed per user; END: where it ends.
CREATE TABLE orders (
  id STRING, user_id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3)
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'bench',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = ${END}, 'format' = 'json'
);
CREATE TABLE totals (user_id STRING, cnt BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO totals SELECT user_id, COUNT(*), SUM(amount) FROM orders GROUP BY user_id;
