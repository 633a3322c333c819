-- Orders of a shop, generated: 20,000 a second for 20 seconds. Event time runs ten times faster than the clock, so windows
-- close while you watch. Three queries over one stream, three sinks, one job.
SET 'execution.checkpointing.interval' = '200 ms';

CREATE TABLE orders (
  order_id   BIGINT,
  user_id    INT,
  product    STRING,
  amount     DOUBLE,
  order_time TIMESTAMP(3),
  WATERMARK FOR order_time AS order_time - INTERVAL '2' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '20000',
  'number-of-rows' = '400000',
  'event-time.speedup' = '10',
  'fields.order_id.kind' = 'sequence',
  'fields.order_id.start' = '1',
  'fields.order_id.end' = '400000',
  'fields.user_id.min' = '1',
  'fields.user_id.max' = '500',
  'fields.product.values' = 'kettle,lamp,chair,desk,mug,plant',
  'fields.amount.min' = '1',
  'fields.amount.max' = '200',
  'fields.order_time.kind' = 'event-time',
  'fields.order_time.max-delay' = '1 s'
);

CREATE TABLE revenue (window_start TIMESTAMP(3), product STRING, orders BIGINT, revenue DOUBLE)
WITH ('connector' = 'print', 'print-identifier' = 'revenue');

CREATE TABLE user_minutes (window_start TIMESTAMP(3), buyers BIGINT, orders BIGINT, average DOUBLE, biggest DOUBLE)
WITH ('connector' = 'print', 'print-identifier' = 'users');

CREATE TABLE anomalies (user_id INT, orders BIGINT, total DOUBLE)
WITH ('connector' = 'print', 'print-identifier' = 'anomaly');

EXECUTE STATEMENT SET
BEGIN
-- revenue per product, every five seconds
INSERT INTO revenue
SELECT window_start, product, COUNT(*), ROUND(SUM(amount), 2)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, product;
-- user statistics, every minute
INSERT INTO user_minutes
SELECT window_start, COUNT(DISTINCT user_id), COUNT(*), ROUND(AVG(amount), 2), MAX(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
-- users who have spent unusually much so far: no window, the result is updated as they go on
INSERT INTO anomalies
SELECT user_id, COUNT(*), ROUND(SUM(amount), 2)
FROM orders
GROUP BY user_id
HAVING SUM(amount) > 84500;
END;
