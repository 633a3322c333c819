-- q2: the bids on some auctions: a selective filter
CREATE TABLE q2 (auction BIGINT, price BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO q2 SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0;
