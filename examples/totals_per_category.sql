-- Keyed, without windows: the last record of a key in topic `totals` is its present total.
CREATE TABLE events (id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE totals (category STRING, n BIGINT, total DOUBLE, PRIMARY KEY (category) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'totals', 'properties.bootstrap.servers' = 'localhost:9092', 'key.format' = 'json', 'value.format' = 'json',
      'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO totals SELECT category, COUNT(*), SUM(amount) FROM events GROUP BY category;
