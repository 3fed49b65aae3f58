-- Trades of ETFs. The first seven columns are those that clients read.

CREATE SEQUENCE etf_realtime_prices_id_seq CACHE 100;
CREATE TABLE etf_realtime_prices (
    id               BIGINT NOT NULL DEFAULT nextval('etf_realtime_prices_id_seq'),
    symbol           VARCHAR(10) COLLATE "C" NOT NULL,
    price            NUMERIC NOT NULL,
    volume           NUMERIC,
    timestamp_ms     BIGINT NOT NULL,
    trade_conditions VARCHAR(50),                 -- separated by commas
    created_at       TIMESTAMP NOT NULL,          -- UTC: when it was received
    source           TEXT NOT NULL DEFAULT 'finnhub_etf_websocket',
    pod_index        INTEGER NOT NULL,
    epoch            BIGINT NOT NULL,
    seq              BIGINT NOT NULL,
    PRIMARY KEY (symbol, timestamp_ms, pod_index, epoch, seq, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE etf_realtime_prices_id_seq OWNED BY etf_realtime_prices.id;
CREATE INDEX etf_realtime_prices_created ON etf_realtime_prices USING brin (created_at);
