-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE out1 (ws TIMESTAMP(3), categories BIGINT, most DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO out1
SELECT window_start, COUNT(*), MAX(total)
FROM (SELECT window_start, window_end, category, SUM(amount) AS total
      FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
      GROUP BY window_start, window_end, category)
GROUP BY window_start, window_end;
