-- q17: statistics per auction and day: as many keys as auctions
CREATE TABLE q17 (
  auction BIGINT, bid_day STRING, bids BIGINT, low_bids BIGINT, middle_bids BIGINT, high_bids BIGINT,
  lowest BIGINT, highest BIGINT, average BIGINT, total BIGINT
) WITH ('connector' = 'blackhole');
INSERT INTO q17
SELECT auction, DATE_FORMAT(at_time, 'yyyy-MM-dd'),
  COUNT(*),
  COUNT(*) FILTER (WHERE price < 10000),
  COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(*) FILTER (WHERE price >= 1000000),
  MIN(price), MAX(price), AVG(price), SUM(price)
FROM bids GROUP BY auction, DATE_FORMAT(at_time, 'yyyy-MM-dd');
