-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE results (window_start TIMESTAMP(3), category STRING, cnt BIGINT, total DOUBLE, average DOUBLE)
WITH ('connector' = 'kafka', 'topic' = 'results', 'properties.bootstrap.servers' = 'localhost:9092', 'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'orders');
INSERT INTO results
SELECT TUMBLE_START(event_time, INTERVAL '5' SECOND), category, COUNT(*), SUM(amount), AVG(amount)
FROM events GROUP BY TUMBLE(event_time, INTERVAL '5' SECOND), category;
