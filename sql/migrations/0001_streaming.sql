-- What the streams write, and who may write it.
--
-- Tables that other programs read keep those programs' column names, order and types; their naive
-- timestamps hold UTC. Our own columns come after, our own tables use TIMESTAMPTZ.

-- Ownership -----------------------------------------------------------------------------------

CREATE TABLE leases (
    resource          TEXT PRIMARY KEY,
    holder            TEXT,                       -- NULL: released
    generation        INTEGER NOT NULL DEFAULT 0, -- the holder's release
    wanted_generation INTEGER NOT NULL DEFAULT 0, -- a newer, healthy release that asks for it
    wanted_until      TIMESTAMPTZ,                -- how long that request counts
    epoch             BIGINT NOT NULL DEFAULT 0,  -- grows with every new holder, never with a renewal
    expires_at        TIMESTAMPTZ NOT NULL DEFAULT 'epoch'
);

CREATE TABLE stream_offsets (
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,                  -- the first offset that is not stored
    epoch       BIGINT NOT NULL DEFAULT 0,        -- of the lease that may move it
    redelivered BIGINT NOT NULL DEFAULT 0,        -- records that came again and were recognised
    tail_crc    BIGINT,                           -- of the last stored value: is this still that log?
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

-- Which numbers of a producer's epoch have arrived: the proof that nothing is missing.
CREATE TABLE stream_sequences (
    feed             TEXT NOT NULL,
    shard            INTEGER NOT NULL,
    epoch            BIGINT NOT NULL,
    seen             INT8MULTIRANGE NOT NULL DEFAULT '{}',
    stored           BIGINT NOT NULL DEFAULT 0,
    parked           BIGINT NOT NULL DEFAULT 0,
    notices          BIGINT NOT NULL DEFAULT 0,   -- gaps that the producer reported
    lost             INT8MULTIRANGE NOT NULL DEFAULT '{}', -- holes already written to gaps
    first_stored_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_received_at TIMESTAMPTZ,
    last_event_at    TIMESTAMPTZ,
    PRIMARY KEY (feed, shard, epoch)
);

-- What each producer says of itself, about once a second.
CREATE TABLE producer_epochs (
    feed         TEXT NOT NULL,
    shard        INTEGER NOT NULL,
    epoch        BIGINT NOT NULL,
    holder       TEXT NOT NULL,
    published    BIGINT NOT NULL DEFAULT 0,       -- highest number the broker acknowledged
    spooled      BIGINT NOT NULL DEFAULT 0,       -- records on disk, waiting for the broker
    connected    BOOLEAN NOT NULL DEFAULT FALSE,
    state        TEXT NOT NULL DEFAULT 'starting',
    cause        TEXT NOT NULL DEFAULT '',        -- why it is not collecting, where it is not
    wanted       INTEGER NOT NULL DEFAULT 0,      -- symbols it should be subscribed to
    confirmed    INTEGER NOT NULL DEFAULT 0,      -- symbols it has had data or an answer for
    received     BIGINT NOT NULL DEFAULT 0,       -- data records taken from the provider
    reconnects   BIGINT NOT NULL DEFAULT 0,
    last_data_at TIMESTAMPTZ,
    safe_at      TIMESTAMPTZ,                     -- everything received before this is acknowledged
    heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    stopped_at   TIMESTAMPTZ,
    PRIMARY KEY (feed, shard, epoch)
);

CREATE TABLE consumer_state (
    topic        TEXT NOT NULL,
    partition    INTEGER NOT NULL,
    holder       TEXT NOT NULL,
    state        TEXT NOT NULL,                   -- storing, waiting for postgres, ...
    cause        TEXT NOT NULL DEFAULT '',
    lag          BIGINT NOT NULL DEFAULT 0,
    redis_state  TEXT NOT NULL DEFAULT '',
    heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

CREATE TABLE gaps (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed        TEXT NOT NULL,
    shard       INTEGER NOT NULL,
    epoch       BIGINT NOT NULL,
    seq         BIGINT,                           -- of the notice, where a producer reported it
    kind        TEXT NOT NULL,                    -- disconnected, stalled, sequence, broker_reset, ...
    symbols     TEXT[],                           -- NULL: all of the shard
    from_at     TIMESTAMPTZ,
    to_at       TIMESTAMPTZ,
    first_seq   BIGINT,
    last_seq    BIGINT,
    cause       TEXT NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (feed, shard, epoch, seq)
);
CREATE INDEX gaps_by_time ON gaps (feed, recorded_at);

CREATE TABLE dead_letters (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed        TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    "offset"    BIGINT NOT NULL,
    shard       INTEGER,
    epoch       BIGINT,
    seq         BIGINT,
    key         BYTEA,
    payload     BYTEA NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL DEFAULT '',
    parked_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    state       TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'dropped')),
    resolved_at TIMESTAMPTZ,
    resolution  TEXT NOT NULL DEFAULT '',
    UNIQUE (topic, partition, "offset", parked_at)
);
CREATE INDEX dead_letters_open ON dead_letters (feed, parked_at) WHERE state = 'open';

CREATE TABLE shard_statistics (
    feed     TEXT NOT NULL,
    shard    INTEGER NOT NULL,
    records  BIGINT NOT NULL DEFAULT 0,
    symbols  TEXT[] NOT NULL DEFAULT '{}',        -- every symbol ever stored for this shard
    first_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (feed, shard)
);

CREATE TABLE shard_assignments (
    feed   TEXT NOT NULL,
    symbol TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    PRIMARY KEY (feed, symbol)
);

-- The next free moment of something that the whole cluster does one after the other.
CREATE TABLE pacers (
    name    TEXT PRIMARY KEY,
    next_at TIMESTAMPTZ NOT NULL DEFAULT 'epoch'
);

-- History, by month ---------------------------------------------------------------------------
--
-- The primary keys begin with what readers ask for (symbol, time) and end with the identity
-- (shard, epoch, seq), so that one index serves both; created_at is in them because Postgres wants
-- the partition key there. A second B-tree would cost a quarter of the write rate.

CREATE SEQUENCE sp500_websocket_trades_id_seq CACHE 100;
CREATE TABLE sp500_websocket_trades (
    id               BIGINT NOT NULL DEFAULT nextval('sp500_websocket_trades_id_seq'),
    symbol           VARCHAR COLLATE "C" NOT NULL,
    price            NUMERIC NOT NULL,
    volume           NUMERIC,
    timestamp_ms     BIGINT NOT NULL,
    trade_conditions VARCHAR[],
    pod_name         VARCHAR,
    source           VARCHAR NOT NULL DEFAULT 'finnhub_sp500_websocket',
    pod_index        INTEGER NOT NULL,
    created_at       TIMESTAMP NOT NULL,          -- UTC: when it was received
    epoch            BIGINT NOT NULL,
    seq              BIGINT NOT NULL,
    PRIMARY KEY (symbol, timestamp_ms, pod_index, epoch, seq, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE sp500_websocket_trades_id_seq OWNED BY sp500_websocket_trades.id;
CREATE INDEX sp500_websocket_trades_created ON sp500_websocket_trades USING brin (created_at);

CREATE SEQUENCE finnhub_trades_id_seq CACHE 100;
CREATE TABLE finnhub_trades (
    id               BIGINT NOT NULL DEFAULT nextval('finnhub_trades_id_seq'),
    symbol           TEXT COLLATE "C" NOT NULL,
    price            NUMERIC NOT NULL,
    volume           NUMERIC,
    timestamp_ms     BIGINT NOT NULL,
    trade_conditions TEXT[],
    source           TEXT NOT NULL DEFAULT 'finnhub_websocket',
    created_at       TIMESTAMP NOT NULL,
    category         VARCHAR(20),                 -- of the newest batch when the trade was received
    pod_index        INTEGER NOT NULL,
    epoch            BIGINT NOT NULL,
    seq              BIGINT NOT NULL,
    PRIMARY KEY (symbol, timestamp_ms, pod_index, epoch, seq, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE finnhub_trades_id_seq OWNED BY finnhub_trades.id;
CREATE INDEX finnhub_trades_created ON finnhub_trades USING brin (created_at);

CREATE SEQUENCE bithumb_ticker_id_seq CACHE 100;
CREATE TABLE bithumb_ticker (
    id                    BIGINT NOT NULL DEFAULT nextval('bithumb_ticker_id_seq'),
    market                TEXT COLLATE "C" NOT NULL,
    trade_date            TEXT,                   -- UTC, YYYYMMDD
    trade_time            TEXT,                   -- UTC, HHMMSS
    trade_date_kst        TEXT,
    trade_time_kst        TEXT,
    trade_timestamp       BIGINT,                 -- ms since the epoch, corrected where it was KST
    opening_price         NUMERIC,
    high_price            NUMERIC,
    low_price             NUMERIC,
    trade_price           NUMERIC,
    prev_closing_price    NUMERIC,
    change                TEXT,
    change_price          NUMERIC,
    change_rate           NUMERIC,
    signed_change_price   NUMERIC,
    signed_change_rate    NUMERIC,
    trade_volume          NUMERIC,
    acc_trade_price       NUMERIC,
    acc_trade_price_24h   NUMERIC,
    acc_trade_volume      NUMERIC,
    acc_trade_volume_24h  NUMERIC,
    highest_52_week_price NUMERIC,
    highest_52_week_date  TEXT,
    lowest_52_week_price  NUMERIC,
    lowest_52_week_date   TEXT,
    timestamp_field       BIGINT NOT NULL,        -- ms since the epoch, corrected likewise
    source                TEXT NOT NULL DEFAULT 'bithumb',
    created_at            TIMESTAMP NOT NULL,
    pod_index             INTEGER NOT NULL,
    epoch                 BIGINT NOT NULL,
    seq                   BIGINT NOT NULL,
    PRIMARY KEY (market, timestamp_field, pod_index, epoch, seq, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE bithumb_ticker_id_seq OWNED BY bithumb_ticker.id;
CREATE INDEX bithumb_ticker_created ON bithumb_ticker USING brin (created_at);

-- One row per market, the newest by the provider's time.
CREATE TABLE bithumb_ticker_latest (LIKE bithumb_ticker);
ALTER TABLE bithumb_ticker_latest ADD PRIMARY KEY (market);

CREATE TABLE bars (
    feed       TEXT COLLATE "C" NOT NULL,
    symbol     TEXT COLLATE "C" NOT NULL,
    interval_s INTEGER NOT NULL,                  -- 1, 60, 300 or 3600
    start_at   TIMESTAMPTZ NOT NULL,
    open       NUMERIC NOT NULL,
    high       NUMERIC NOT NULL,
    low        NUMERIC NOT NULL,
    close      NUMERIC NOT NULL,
    volume     NUMERIC NOT NULL,
    trades     BIGINT NOT NULL,
    open_ms    BIGINT NOT NULL,                   -- event time of the trade that opened it
    close_ms   BIGINT NOT NULL,
    PRIMARY KEY (feed, symbol, interval_s, start_at)
) PARTITION BY RANGE (start_at);

-- Reference -----------------------------------------------------------------------------------

CREATE TABLE sp500_companies (
    id                SERIAL PRIMARY KEY,
    symbol            TEXT NOT NULL UNIQUE,
    company_name      TEXT NOT NULL,
    gics_sector       TEXT,
    gics_sub_industry TEXT,
    headquarters      TEXT,
    date_added        DATE,
    cik               TEXT,
    founded           TEXT,
    market_cap        BIGINT,
    website           TEXT,
    employees         INTEGER,
    created_at        TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at        TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX idx_sp500_companies_sector ON sp500_companies (gics_sector);

CREATE TABLE market_code_bithumb (
    market_code    TEXT PRIMARY KEY,
    korean_name    TEXT NOT NULL,
    english_name   TEXT NOT NULL,
    market_warning TEXT
);

CREATE TABLE top_gainers (
    batch_id          BIGINT NOT NULL,
    last_updated      TIMESTAMP NOT NULL,
    symbol            VARCHAR(10) NOT NULL,
    category          VARCHAR(20) NOT NULL,
    rank_position     INTEGER,
    price             NUMERIC,
    change_amount     NUMERIC,
    change_percentage VARCHAR(20),
    volume            BIGINT,
    created_at        TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (batch_id, symbol, category)
);
CREATE INDEX idx_top_gainers_batch_rank ON top_gainers (batch_id, category, rank_position);

-- One notification a batch: Postgres delivers equal payloads of one transaction once, and the
-- timestamp is the transaction's.
CREATE FUNCTION notify_top_gainers_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('top_gainers_updated',
        json_build_object('batch_id', batch_id, 'timestamp', extract(epoch FROM now()))::text)
    FROM (SELECT DISTINCT batch_id FROM changed) AS batches;
    RETURN NULL;
END $$;
CREATE TRIGGER top_gainers_inserted AFTER INSERT ON top_gainers
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION notify_top_gainers_update();
CREATE TRIGGER top_gainers_updated AFTER UPDATE ON top_gainers
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION notify_top_gainers_update();

-- Partitions ----------------------------------------------------------------------------------

-- Make a table's partition for the month that holds `moment` (UTC); nothing where it exists.
CREATE FUNCTION make_month_partition(parent TEXT, moment TIMESTAMP) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    first_day TIMESTAMP := date_trunc('month', moment);
    next_month TIMESTAMP := first_day + INTERVAL '1 month';
    child TEXT := parent || to_char(first_day, '_YYYYMM');
    zone TEXT := CASE parent WHEN 'bars' THEN '+00' ELSE '' END;
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Several consumers may want the same month at once.
    PERFORM pg_advisory_xact_lock(hashtext(child));
    EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
        child, parent, first_day::text || zone, next_month::text || zone);
END $$;
