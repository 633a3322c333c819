-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE out1 (id STRING, ws TIMESTAMP(3), we TIMESTAMP(3), wt TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO out1
SELECT id, window_start, window_end, window_time
FROM TABLE(HOP(TABLE events, DESCRIPTOR(event_time), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
WHERE amount > 990 AND window_start > TIMESTAMP '2026-01-01 00:00:00';
