-- The 5-second tumbling job per category, as a window table function.
CREATE TABLE events (
  id STRING, user_id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'bench',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json'
);
CREATE TABLE results (window_start TIMESTAMP(3), category STRING, cnt BIGINT, total DOUBLE, average DOUBLE) WITH (${SINK});
INSERT INTO results
SELECT window_start, category, COUNT(*), SUM(amount), AVG(amount)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, category;
