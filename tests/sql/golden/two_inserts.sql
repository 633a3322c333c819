-- parallelism: 2
CREATE TABLE events (id STRING, amount DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE big (id STRING, amount DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'big', 'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO big SELECT id, amount FROM events WHERE amount > 10;
INSERT INTO big SELECT id, amount * 2 FROM events WHERE amount < 1;
