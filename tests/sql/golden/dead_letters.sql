-- parallelism: 2
-- records that cannot be read leave by lanes of their own; the hidden sink gets barriers but no rows
CREATE TABLE e (id BIGINT, name STRING) WITH ('connector' = 'kafka', 'topic' = 'e', 'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json', 'json.dead-letter.topic' = 'bad');
CREATE TABLE o (id BIGINT, name STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT id, UPPER(name) FROM e WHERE id > 0;
