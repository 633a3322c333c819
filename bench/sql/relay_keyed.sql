-- Kafka to Kafka, every event updates the row of its user.
CREATE TABLE events (id STRING, user_id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3), ts BIGINT) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'bench',
  'scan.startup.mode' = 'latest-offset', 'format' = 'json');
CREATE TABLE results (user_id STRING, orders BIGINT, total DOUBLE, ts BIGINT, PRIMARY KEY (user_id) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = '${OUT}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.linger.ms' = '1',
  'properties.transaction.timeout.ms' = '60000', 'key.format' = 'json', 'value.format' = 'json',
  'sink.delivery-guarantee' = '${GUARANTEE}', 'sink.transactional-id-prefix' = '${PREFIX}');
INSERT INTO results SELECT user_id, COUNT(*), SUM(amount), MAX(ts) FROM events GROUP BY user_id;
