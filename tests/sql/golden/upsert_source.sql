-- parallelism: 2
CREATE TABLE users (user_id STRING, name STRING, country STRING, score INT, PRIMARY KEY (user_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'users', 'properties.bootstrap.servers' = 'localhost:9092',
  'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE per_country (country STRING, n BIGINT, score INT) WITH ('connector' = 'print');
INSERT INTO per_country SELECT country, COUNT(*), SUM(score) FROM users WHERE country <> '' GROUP BY country;
