-- parallelism: 2
-- select: yes
SET 'state.backend' = 'rocksdb';
SELECT n + 1 AS m, name FROM (VALUES (1, 'one'), (2, 'two'), (3, NULL)) AS t (n, name) WHERE n < 3;
