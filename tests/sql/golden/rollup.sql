-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE out1 (ws TIMESTAMP(3), category STRING, big BOOLEAN, left_out BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO out1
SELECT window_start, category, big, GROUPING_ID(category, big), COUNT(*)
FROM (SELECT *, amount > 100 AS big FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)))
GROUP BY window_start, window_end, ROLLUP (category, big);
