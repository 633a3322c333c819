-- parallelism: 2
CREATE TABLE events (
  kind INT,
  person ROW<id BIGINT, name STRING, at_time TIMESTAMP(3)>,
  bid ROW<auction BIGINT, price BIGINT, url STRING, at_time TIMESTAMP(3)>,
  at_time AS CASE kind WHEN 0 THEN person.at_time ELSE bid.at_time END,
  WATERMARK FOR at_time AS at_time - INTERVAL '4' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE VIEW bids AS SELECT bid.auction AS auction, bid.price AS price, bid.url AS url, at_time FROM events WHERE kind = 2;
CREATE TABLE people (
  person ROW<name STRING, home ROW<city STRING, street STRING, zip STRING>, work ROW<city STRING>>, pets ROW<dog STRING, cat STRING>
) WITH ('connector' = 'filesystem', 'path' = '/data/people', 'format' = 'json');
CREATE TABLE lines (a ROW<x INT, y INT>) WITH ('connector' = 'filesystem', 'path' = '/data/lines', 'format' = 'csv');

-- through a view, a computed column, its watermark and a window
CREATE TABLE out1 (auction BIGINT, n BIGINT, e TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO out1 SELECT auction, COUNT(*), window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at_time), INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end;
-- rows within rows; what looks at a row as such wants all of it
CREATE TABLE out2 (city STRING, home ROW<city STRING>, pets BOOLEAN) WITH ('connector' = 'blackhole');
INSERT INTO out2 SELECT person.home.city, person.work, pets IS NULL FROM people WHERE person.home.zip <> '';
-- a format that reads by position
CREATE TABLE out3 (x INT) WITH ('connector' = 'blackhole');
INSERT INTO out3 SELECT a.y FROM lines;
