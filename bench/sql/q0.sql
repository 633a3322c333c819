-- q0: every bid as it is: what reading and decoding cost
CREATE TABLE q0 (auction BIGINT, bidder BIGINT, price BIGINT, at_time TIMESTAMP(3), extra STRING) WITH ('connector' = 'blackhole');
INSERT INTO q0 SELECT auction, bidder, price, at_time, extra FROM bids;
