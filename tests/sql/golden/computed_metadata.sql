-- parallelism: 2
CREATE TABLE clicks (
  line STRING,
  page STRING METADATA FROM 'topic' VIRTUAL,
  at_ms BIGINT,
  arrived TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  ts AS TO_TIMESTAMP_LTZ(at_ms, 3),
  len AS CHAR_LENGTH(line) * 2,
  p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'localhost:9092', 'format' = 'json',
  'scan.watermark.idle-timeout' = '5 s');
CREATE TABLE by_event (ws TIMESTAMP(3), page STRING, len INT) WITH ('connector' = 'blackhole');
CREATE TABLE by_clock (ws TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO by_event SELECT window_start, page, SUM(len) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, page;
INSERT INTO by_clock SELECT TUMBLE_START(p, INTERVAL '10' SECOND), COUNT(*) FROM clicks GROUP BY TUMBLE(p, INTERVAL '10' SECOND);
