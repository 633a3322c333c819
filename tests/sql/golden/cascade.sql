-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE out1 (ws TIMESTAMP(3), category STRING, parts BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
CREATE VIEW part5 AS
SELECT window_time AS rowtime, category, SUM(amount) AS s
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, window_time, category;
INSERT INTO out1
SELECT window_start, category, COUNT(*), SUM(s)
FROM TABLE(CUMULATE(TABLE part5, DESCRIPTOR(rowtime), INTERVAL '30' SECOND, INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, category;
