-- Kafka to Kafka, row by row.
CREATE TABLE events (id STRING, user_id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3), ts BIGINT) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'bench',
  'scan.startup.mode' = 'latest-offset', 'format' = 'json');
CREATE TABLE results (id STRING, category STRING, amount DOUBLE, ts BIGINT) WITH (
  'connector' = 'kafka', 'topic' = '${OUT}', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.linger.ms' = '1',
  'properties.transaction.timeout.ms' = '60000', 'format' = 'json',
  'sink.delivery-guarantee' = '${GUARANTEE}', 'sink.transactional-id-prefix' = '${PREFIX}');
INSERT INTO results SELECT id, category, amount, ts FROM events WHERE amount >= 0;
