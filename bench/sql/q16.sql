-- q16: the same per channel and day, with the last minute seen: 10,000 keys with distinct counts each
CREATE TABLE q16 (
  channel STRING, bid_day STRING, last_minute STRING, bids BIGINT, low_bids BIGINT, middle_bids BIGINT, high_bids BIGINT,
  bidders BIGINT, low_bidders BIGINT, middle_bidders BIGINT, high_bidders BIGINT,
  auctions BIGINT, low_auctions BIGINT, middle_auctions BIGINT, high_auctions BIGINT
) WITH ('connector' = 'blackhole');
INSERT INTO q16
SELECT channel, DATE_FORMAT(at_time, 'yyyy-MM-dd'),
  MAX(DATE_FORMAT(at_time, 'HH:mm')),
  COUNT(*),
  COUNT(*) FILTER (WHERE price < 10000),
  COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(*) FILTER (WHERE price >= 1000000),
  COUNT(DISTINCT bidder),
  COUNT(DISTINCT bidder) FILTER (WHERE price < 10000),
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000),
  COUNT(DISTINCT auction),
  COUNT(DISTINCT auction) FILTER (WHERE price < 10000),
  COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000)
FROM bids GROUP BY channel, DATE_FORMAT(at_time, 'yyyy-MM-dd');
