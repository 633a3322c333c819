-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE big (id STRING, cents BIGINT, kind STRING) WITH ('connector' = 'kafka', 'topic' = 'big',
  'properties.bootstrap.servers' = 'localhost:9092', 'format' = 'json');
INSERT INTO big SELECT id, CAST(amount * (10 * 10) AS BIGINT), payload.kind FROM events WHERE amount > 100 + 1 AND category <> 'x';
