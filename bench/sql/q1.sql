-- q1: prices in another currency
CREATE TABLE q1 (auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), at_time TIMESTAMP(3), extra STRING) WITH ('connector' = 'blackhole');
INSERT INTO q1 SELECT auction, bidder, 0.908 * price, at_time, extra FROM bids;
