-- parallelism: 4
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE per_category (ws TIMESTAMP(3), category STRING, n BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE totals (n BIGINT, total DOUBLE, ws TIMESTAMP(3)) WITH ('connector' = 'blackhole');
CREATE TABLE alerts (id STRING, amount DOUBLE) WITH ('connector' = 'blackhole');
EXECUTE STATEMENT SET BEGIN
INSERT INTO per_category
SELECT window_start, category, COUNT(*) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, category;
INSERT INTO totals
SELECT COUNT(*), SUM(amount), window_start FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
INSERT INTO alerts SELECT id, amount FROM events WHERE amount >= 8000;
END;
