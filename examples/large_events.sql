-- Stateless: filter and project, from topic `events` into topic `big`, each row once.
CREATE TABLE events (id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'localhost:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE big (id STRING, cents BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'big', 'properties.bootstrap.servers' = 'localhost:9092', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO big SELECT id, CAST(ROUND(amount * 100) AS BIGINT) FROM events WHERE amount >= 900;
