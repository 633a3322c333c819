-- parallelism: 2
CREATE TABLE orders (id STRING, user_id STRING, amount DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '/data/orders.json', 'format' = 'json');
CREATE TABLE out1 (user_id STRING, n BIGINT, total DOUBLE) WITH ('connector' = 'filesystem', 'path' = '/out', 'format' = 'json');
INSERT INTO out1 SELECT user_id, COUNT(*), SUM(amount) FROM orders GROUP BY user_id;
