-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE results (ws TIMESTAMP(3), we TIMESTAMP(3), category STRING, n BIGINT, users BIGINT)
WITH ('connector' = 'blackhole');
INSERT INTO results
SELECT window_start, window_end, category, COUNT(*), COUNT(DISTINCT id) FILTER (WHERE amount > 5)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
WHERE amount > 0 AND category IS NOT NULL
GROUP BY window_start, window_end, category
HAVING COUNT(*) > 3;
