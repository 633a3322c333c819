-- parallelism: 16
CREATE TABLE events (
  id STRING, category STRING, amount DOUBLE, payload ROW<kind STRING, size INT>, event_time TIMESTAMP(3),
  WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE keyed (id STRING, category STRING, amount DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'keyed',
  'properties.bootstrap.servers' = 'localhost:9092', 'key.format' = 'json', 'key.fields' = 'category', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO keyed (amount, id, category) SELECT amount, id, UPPER(category) FROM events;
