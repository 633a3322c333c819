-- parallelism: 2
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE VIEW cheap AS SELECT id, amount, category FROM events WHERE amount < 10;
CREATE TEMPORARY VIEW dear (id, amount, category) AS SELECT id, amount, category FROM events WHERE amount > 1000;
CREATE TABLE extremes (id STRING, amount DOUBLE, what STRING) WITH ('connector' = 'blackhole');
CREATE TABLE kinds (category STRING) WITH ('connector' = 'blackhole');
INSERT INTO extremes
WITH both_ends AS (SELECT id, amount, 'cheap' AS what FROM cheap UNION ALL SELECT id, amount, 'dear' FROM dear)
SELECT * FROM both_ends WHERE amount <> 5;
INSERT INTO kinds SELECT category FROM cheap UNION SELECT category FROM dear;
