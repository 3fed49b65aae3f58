-- Tickers of Upbit's KRW markets.

CREATE TABLE market_code_upbit (
    market_code  TEXT PRIMARY KEY,
    korean_name  TEXT NOT NULL,
    english_name TEXT NOT NULL,
    listed_at    TIMESTAMPTZ NOT NULL             -- when Upbit listed it last
);

CREATE SEQUENCE upbit_ticker_id_seq CACHE 100;
CREATE TABLE upbit_ticker (
    id                   BIGINT NOT NULL DEFAULT nextval('upbit_ticker_id_seq'),
    market               TEXT COLLATE "C" NOT NULL,
    timestamp_ms         BIGINT NOT NULL,         -- ms since the epoch
    trade_price          NUMERIC NOT NULL,
    opening_price        NUMERIC,
    high_price           NUMERIC,
    low_price            NUMERIC,
    prev_closing_price   NUMERIC,
    signed_change_price  NUMERIC,
    signed_change_rate   NUMERIC,
    trade_volume         NUMERIC,
    acc_trade_price_24h  NUMERIC,
    acc_trade_volume_24h NUMERIC,
    trade_timestamp      BIGINT,                  -- ms since the epoch
    change               TEXT,                    -- RISE, EVEN or FALL
    stream_type          TEXT,                    -- SNAPSHOT or REALTIME
    source               TEXT NOT NULL DEFAULT 'upbit',
    created_at           TIMESTAMP NOT NULL,      -- UTC: when it was received
    pod_index            INTEGER NOT NULL,
    epoch                BIGINT NOT NULL,
    seq                  BIGINT NOT NULL,
    PRIMARY KEY (market, timestamp_ms, pod_index, epoch, seq, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE upbit_ticker_id_seq OWNED BY upbit_ticker.id;
CREATE INDEX upbit_ticker_created ON upbit_ticker USING brin (created_at);

-- One row per market, the newest by the venue's time.
CREATE TABLE upbit_ticker_latest (LIKE upbit_ticker);
ALTER TABLE upbit_ticker_latest ADD PRIMARY KEY (market);
