-- CoinGecko's and Bithumb's batch tables, the S&P 500's members, and what Yahoo says of them.
--
-- Tables that other programs read keep those programs' column names, order and types; their naive
-- timestamps hold UTC. Our own columns come after. No NUMERIC has a scale: a price of 3e-10 and a
-- supply of 1e24 are stored as they came.

-- What a list had when it was last read whole: `prune` compares with it.
CREATE TABLE listings (
    job   TEXT PRIMARY KEY,
    slot  TIMESTAMPTZ NOT NULL,
    items TEXT[] NOT NULL
);

-- Crypto --------------------------------------------------------------------------------------

CREATE TABLE coingecko_id_mapping (
    coingecko_id       TEXT PRIMARY KEY,
    symbol             TEXT NOT NULL,
    name               TEXT NOT NULL,
    image_url          TEXT,
    current_price_usd  NUMERIC,
    market_cap_usd     BIGINT,
    market_cap_rank    INTEGER,
    total_volume_usd   BIGINT,
    ath_usd            NUMERIC,
    ath_date           TIMESTAMP,
    atl_usd            NUMERIC,
    atl_date           TIMESTAMP,
    circulating_supply NUMERIC,
    total_supply       NUMERIC,
    max_supply         NUMERIC,
    last_updated       TIMESTAMP,
    created_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source             TEXT NOT NULL DEFAULT 'coingecko'
);
CREATE INDEX idx_coingecko_mapping_rank ON coingecko_id_mapping (market_cap_rank);
CREATE INDEX idx_coingecko_mapping_symbol ON coingecko_id_mapping (symbol);

CREATE TABLE coingecko_coin_details (
    coingecko_id                TEXT PRIMARY KEY,
    symbol                      TEXT NOT NULL,
    name                        TEXT NOT NULL,
    web_slug                    TEXT,
    description_en              TEXT,
    genesis_date                DATE,
    country_origin              TEXT,
    homepage_url                TEXT,
    blockchain_site             TEXT,
    twitter_screen_name         TEXT,
    facebook_username           TEXT,
    telegram_channel_identifier TEXT,
    subreddit_url               TEXT,
    github_repos                JSONB,
    image_thumb                 TEXT,
    image_small                 TEXT,
    image_large                 TEXT,
    categories                  JSONB,
    current_price_usd           NUMERIC,
    current_price_krw           NUMERIC,
    market_cap_usd              BIGINT,
    market_cap_rank             INTEGER,
    total_volume_usd            BIGINT,
    ath_usd                     NUMERIC,
    ath_change_percentage       NUMERIC,
    ath_date                    TIMESTAMP,
    atl_usd                     NUMERIC,
    atl_change_percentage       NUMERIC,
    atl_date                    TIMESTAMP,
    total_supply                NUMERIC,
    circulating_supply          NUMERIC,
    max_supply                  NUMERIC,
    price_change_24h_usd        NUMERIC,
    price_change_percentage_24h NUMERIC,
    price_change_percentage_7d  NUMERIC,
    price_change_percentage_30d NUMERIC,
    community_score             NUMERIC,
    twitter_followers           INTEGER,
    reddit_subscribers          INTEGER,
    telegram_channel_user_count INTEGER,
    developer_score             NUMERIC,
    forks                       INTEGER,
    stars                       INTEGER,
    total_issues                INTEGER,
    closed_issues               INTEGER,
    commit_count_4_weeks        INTEGER,
    public_interest_score       NUMERIC,
    liquidity_score             NUMERIC,
    coingecko_last_updated      TIMESTAMP,
    created_at                  TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at                  TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                      TEXT NOT NULL DEFAULT 'coingecko'
);
CREATE INDEX idx_coin_details_rank ON coingecko_coin_details (market_cap_rank);
CREATE INDEX idx_coin_details_symbol ON coingecko_coin_details (symbol);
CREATE INDEX idx_coin_details_categories ON coingecko_coin_details USING gin (categories);

CREATE TABLE coingecko_derivatives (
    id                          SERIAL PRIMARY KEY,
    batch_id                    TEXT NOT NULL,    -- the slot, YYYYMMDD_HHMMSS
    market                      TEXT NOT NULL,
    symbol                      TEXT NOT NULL,
    index_id                    TEXT NOT NULL,
    price                       NUMERIC,
    price_percentage_change_24h NUMERIC,
    index_price                 NUMERIC,
    contract_type               TEXT NOT NULL,    -- perpetual or futures
    basis                       NUMERIC,
    spread                      NUMERIC,
    funding_rate                NUMERIC,          -- NULL: none was given, which is not 0
    open_interest_usd           NUMERIC,
    volume_24h_usd              NUMERIC,
    last_traded_at              TIMESTAMP,
    expired_at                  TIMESTAMP,
    collected_at                TIMESTAMP NOT NULL, -- the slot
    created_at                  TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at                  TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                      TEXT NOT NULL DEFAULT 'coingecko',
    CONSTRAINT coingecko_derivatives_key UNIQUE (batch_id, market, symbol, contract_type)
);
CREATE INDEX idx_derivatives_collected_at ON coingecko_derivatives (collected_at);
CREATE INDEX idx_derivatives_index_id ON coingecko_derivatives (index_id, collected_at);

CREATE TABLE coingecko_global (
    id                                   SERIAL PRIMARY KEY,
    active_cryptocurrencies              INTEGER,
    upcoming_icos                        INTEGER DEFAULT 0,
    ongoing_icos                         INTEGER DEFAULT 0,
    ended_icos                           INTEGER DEFAULT 0,
    markets                              INTEGER,
    total_market_cap_usd                 NUMERIC,
    total_market_cap_krw                 NUMERIC,
    total_market_cap_btc                 NUMERIC,
    total_market_cap_eth                 NUMERIC,
    total_volume_usd                     NUMERIC,
    total_volume_krw                     NUMERIC,
    total_volume_btc                     NUMERIC,
    total_volume_eth                     NUMERIC,
    btc_dominance                        NUMERIC, -- NULL: not among the coins that were listed
    eth_dominance                        NUMERIC,
    bnb_dominance                        NUMERIC,
    xrp_dominance                        NUMERIC,
    ada_dominance                        NUMERIC,
    sol_dominance                        NUMERIC,
    doge_dominance                       NUMERIC,
    market_cap_change_percentage_24h_usd NUMERIC,
    market_cap_percentage_json           JSONB,
    total_market_cap_json                JSONB,
    total_volume_json                    JSONB,
    coingecko_updated_at                 TIMESTAMP,
    collected_at                         TIMESTAMP NOT NULL UNIQUE, -- the slot
    created_at                           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at                           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                               TEXT NOT NULL DEFAULT 'coingecko'
);

CREATE TABLE coingecko_tickers (
    id                        BIGSERIAL PRIMARY KEY,
    batch_id                  TEXT NOT NULL,
    coingecko_id              TEXT NOT NULL,
    coin_symbol               TEXT NOT NULL,
    coin_name                 TEXT NOT NULL,
    market_cap_rank           INTEGER,
    base_symbol               TEXT NOT NULL,
    target_symbol             TEXT NOT NULL,
    market_name               TEXT NOT NULL,
    market_identifier         TEXT NOT NULL,
    is_korean_exchange        BOOLEAN DEFAULT FALSE,
    has_trading_incentive     BOOLEAN DEFAULT FALSE,
    last_price                NUMERIC,
    volume                    NUMERIC,
    converted_last_usd        NUMERIC,
    converted_last_btc        NUMERIC,
    converted_volume_usd      NUMERIC,
    trust_score               TEXT,
    bid_ask_spread_percentage NUMERIC,
    cost_to_move_up_usd       NUMERIC,
    cost_to_move_down_usd     NUMERIC,
    is_anomaly                BOOLEAN DEFAULT FALSE,
    is_stale                  BOOLEAN DEFAULT FALSE,
    trade_url                 TEXT,
    timestamp                 TIMESTAMP,
    last_traded_at            TIMESTAMP,
    last_fetch_at             TIMESTAMP,
    collected_at              TIMESTAMP NOT NULL, -- the slot
    created_at                TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at                TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                    TEXT NOT NULL DEFAULT 'coingecko',
    CONSTRAINT coingecko_tickers_key
        UNIQUE (batch_id, coingecko_id, market_identifier, base_symbol, target_symbol)
);
CREATE INDEX idx_tickers_collected_at ON coingecko_tickers (collected_at);
CREATE INDEX idx_tickers_coin_symbol ON coingecko_tickers (coin_symbol, collected_at);

CREATE TABLE coingecko_tickers_bithumb (
    id                        BIGSERIAL PRIMARY KEY,
    market_code               TEXT NOT NULL,
    coingecko_id              TEXT NOT NULL,
    symbol                    TEXT NOT NULL,
    coin_name                 TEXT,
    base                      TEXT NOT NULL,
    target                    TEXT NOT NULL,
    exchange_name             TEXT NOT NULL,
    exchange_id               TEXT NOT NULL,
    last_price                NUMERIC,
    volume_24h                NUMERIC,
    converted_last_usd        NUMERIC,
    converted_volume_usd      BIGINT NOT NULL,    -- readers fail at NULL: 0 where none was given
    trust_score               TEXT,
    bid_ask_spread_percentage NUMERIC,
    timestamp                 TIMESTAMP NOT NULL,
    last_traded_at            TIMESTAMP,
    last_fetch_at             TIMESTAMP,
    is_anomaly                BOOLEAN DEFAULT FALSE,
    is_stale                  BOOLEAN DEFAULT FALSE,
    trade_url                 TEXT,
    coin_mcap_usd             BIGINT,
    match_method              TEXT,
    market_cap_rank           INTEGER,
    created_at                TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at                TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                    TEXT NOT NULL DEFAULT 'coingecko',
    CONSTRAINT coingecko_tickers_bithumb_key
        UNIQUE (coingecko_id, exchange_id, base, target, timestamp)
);
CREATE INDEX idx_coingecko_tickers_created_at ON coingecko_tickers_bithumb (created_at DESC);
CREATE INDEX idx_coingecko_tickers_symbol ON coingecko_tickers_bithumb (symbol, created_at DESC);
CREATE INDEX idx_coingecko_tickers_exchange_symbol
    ON coingecko_tickers_bithumb (exchange_id, symbol, created_at DESC);

CREATE TABLE bithumb_coingecko_mapping (
    id                   SERIAL PRIMARY KEY,
    market_code          TEXT NOT NULL UNIQUE,
    symbol               TEXT NOT NULL,
    bithumb_korean_name  TEXT,
    bithumb_english_name TEXT,
    coingecko_id         TEXT,
    coingecko_name       TEXT,
    market_cap_rank      INTEGER,
    market_cap_usd       BIGINT,
    current_price_usd    NUMERIC,
    match_method         TEXT NOT NULL,
    match_score          NUMERIC,
    is_verified          BOOLEAN DEFAULT FALSE,
    is_active            BOOLEAN DEFAULT TRUE,
    has_issues           BOOLEAN DEFAULT FALSE,
    notes                TEXT,
    created_at           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    verified_at          TIMESTAMP,
    verified_by          TEXT                     -- a person; the job leaves such a row alone
);
CREATE INDEX idx_bithumb_coingecko_id ON bithumb_coingecko_mapping (coingecko_id);
CREATE INDEX idx_bithumb_coingecko_symbol ON bithumb_coingecko_mapping (symbol);

-- A person says which coin a market is.
CREATE FUNCTION update_mapping_verification(p_market_code TEXT, p_coingecko_id TEXT, p_by TEXT)
RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bithumb_coingecko_mapping AS mapping
    SET coingecko_id = p_coingecko_id, match_method = 'MANUAL_MAPPING', match_score = 100,
        is_verified = TRUE, has_issues = FALSE, verified_by = p_by,
        verified_at = now() AT TIME ZONE 'UTC', updated_at = now() AT TIME ZONE 'UTC',
        coingecko_name = coin.name, market_cap_rank = coin.market_cap_rank,
        market_cap_usd = coin.market_cap_usd, current_price_usd = coin.current_price_usd
    FROM (SELECT 1) AS one
    LEFT JOIN coingecko_id_mapping AS coin ON coin.coingecko_id = p_coingecko_id
    WHERE mapping.market_code = p_market_code;
    RETURN FOUND;
END $$;

CREATE FUNCTION flag_mapping_issue(p_market_code TEXT, p_notes TEXT)
RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bithumb_coingecko_mapping
    SET has_issues = TRUE, notes = p_notes, updated_at = now() AT TIME ZONE 'UTC'
    WHERE market_code = p_market_code;
    RETURN FOUND;
END $$;

-- Views over them -----------------------------------------------------------------------------

-- Which coins of the first 500 Bithumb trades; several coins can have one symbol.
CREATE VIEW coingecko_bithumb_mapping AS
SELECT coin.coingecko_id, coin.symbol, coin.name, coin.market_cap_rank, coin.current_price_usd,
       coin.market_cap_usd, market.market_code, market.korean_name, market.english_name,
       market.market_code IS NOT NULL AS is_traded_on_bithumb
FROM coingecko_id_mapping AS coin
LEFT JOIN market_code_bithumb AS market ON market.market_code = 'KRW-' || upper(coin.symbol)
WHERE coin.market_cap_rank <= 500;

-- One row a coin: the newest ticker, not each one.
CREATE VIEW crypto_detail_with_bithumb AS
SELECT detail.coingecko_id, detail.symbol, detail.name, detail.market_cap_rank,
       detail.current_price_usd, detail.current_price_krw, detail.market_cap_usd,
       detail.price_change_percentage_24h, detail.image_small, detail.categories,
       market.market_code, market.korean_name,
       ticker.trade_price AS bithumb_price_krw, ticker.change_rate AS bithumb_change_rate,
       ticker.acc_trade_volume_24h AS bithumb_volume_24h
FROM coingecko_coin_details AS detail
LEFT JOIN market_code_bithumb AS market ON market.market_code = 'KRW-' || upper(detail.symbol)
LEFT JOIN bithumb_ticker_latest AS ticker ON ticker.market = market.market_code
WHERE detail.market_cap_rank <= 200;

CREATE VIEW v_bithumb_coingecko_mapping_summary AS
SELECT match_method,
       count(*) AS total,
       count(coingecko_id) AS mapped,
       count(*) FILTER (WHERE is_verified) AS verified,
       count(*) FILTER (WHERE match_score >= 90) AS high_confidence,
       count(*) FILTER (WHERE match_score >= 70 AND match_score < 90) AS medium_confidence,
       count(*) FILTER (WHERE match_score < 70) AS low_confidence,
       count(*) FILTER (WHERE market_cap_rank <= 100) AS top_100,
       count(*) FILTER (WHERE market_cap_rank <= 500) AS top_500,
       min(created_at) AS first_created_at,
       max(updated_at) AS last_updated_at
FROM bithumb_coingecko_mapping
GROUP BY match_method;

CREATE VIEW v_bithumb_coingecko_issues AS
SELECT market_code, symbol, bithumb_korean_name, bithumb_english_name, coingecko_id, match_method,
       match_score, is_verified, has_issues, notes,
       CASE WHEN coingecko_id IS NULL THEN 'NO_MATCH'
            WHEN has_issues THEN 'FLAGGED'
            WHEN match_score < 80 THEN 'LOW_SCORE'
            ELSE 'UNVERIFIED' END AS issue_type,
       CASE WHEN coingecko_id IS NULL OR has_issues THEN 1
            WHEN match_score < 80 THEN 2
            ELSE 3 END AS review_priority
FROM bithumb_coingecko_mapping
WHERE is_active AND (coingecko_id IS NULL OR has_issues OR match_score < 80 OR NOT is_verified);

CREATE VIEW v_bithumb_coingecko_successful AS
SELECT mapping.market_code, mapping.symbol, mapping.bithumb_korean_name,
       mapping.bithumb_english_name, mapping.coingecko_id, coin.name AS coingecko_name,
       coin.market_cap_rank, coin.market_cap_usd, coin.current_price_usd, mapping.match_method,
       mapping.match_score, mapping.is_verified, coin.last_updated
FROM bithumb_coingecko_mapping AS mapping
JOIN coingecko_id_mapping AS coin USING (coingecko_id)
WHERE mapping.is_active;

CREATE VIEW latest_derivatives_summary AS
SELECT index_id,
       count(*) AS contract_count,
       avg(funding_rate) AS avg_funding_rate,
       count(*) FILTER (WHERE funding_rate > 0) AS positive_funding_count,
       count(*) FILTER (WHERE funding_rate < 0) AS negative_funding_count,
       sum(open_interest_usd) AS total_open_interest_usd,
       sum(volume_24h_usd) AS total_volume_24h_usd,
       avg(basis) AS avg_basis,
       max(collected_at) AS collected_at
FROM coingecko_derivatives
WHERE collected_at = (SELECT max(collected_at) FROM coingecko_derivatives)
GROUP BY index_id;

CREATE VIEW derivatives_by_market AS
SELECT market,
       count(*) AS contract_count,
       count(DISTINCT index_id) AS coin_count,
       avg(funding_rate) AS avg_funding_rate,
       sum(open_interest_usd) AS total_open_interest_usd,
       sum(volume_24h_usd) AS total_volume_24h_usd,
       max(collected_at) AS collected_at
FROM coingecko_derivatives
WHERE collected_at = (SELECT max(collected_at) FROM coingecko_derivatives)
GROUP BY market;

CREATE VIEW latest_crypto_market_overview AS
SELECT active_cryptocurrencies, markets, total_market_cap_usd, total_volume_usd, btc_dominance,
       eth_dominance, market_cap_change_percentage_24h_usd,
       CASE WHEN total_market_cap_usd > 3e12 THEN 'Bull'
            WHEN total_market_cap_usd > 1.5e12 THEN 'Stable'
            WHEN total_market_cap_usd IS NOT NULL THEN 'Bear' END AS market_phase,
       CASE WHEN btc_dominance > 60 THEN 'High'
            WHEN btc_dominance > 45 THEN 'Normal'
            WHEN btc_dominance IS NOT NULL THEN 'Altseason' END AS btc_dominance_level,
       coingecko_updated_at, collected_at
FROM coingecko_global
ORDER BY collected_at DESC
LIMIT 1;

CREATE VIEW crypto_market_trends AS
SELECT day, avg_market_cap_usd, avg_volume_usd, avg_btc_dominance, avg_eth_dominance,
       avg_change_24h,
       avg_market_cap_usd - lag(avg_market_cap_usd) OVER days AS market_cap_change_usd,
       avg_btc_dominance - lag(avg_btc_dominance) OVER days AS btc_dominance_change,
       CASE WHEN avg_change_24h > 5 THEN 'Strong Bull'
            WHEN avg_change_24h > 2 THEN 'Bull'
            WHEN avg_change_24h >= -2 THEN 'Neutral'
            WHEN avg_change_24h >= -5 THEN 'Bear'
            WHEN avg_change_24h IS NOT NULL THEN 'Strong Bear' END AS trend
FROM (
    SELECT collected_at::date AS day,
           avg(total_market_cap_usd) AS avg_market_cap_usd,
           avg(total_volume_usd) AS avg_volume_usd,
           avg(btc_dominance) AS avg_btc_dominance,
           avg(eth_dominance) AS avg_eth_dominance,
           avg(market_cap_change_percentage_24h_usd) AS avg_change_24h
    FROM coingecko_global
    WHERE collected_at >= (now() AT TIME ZONE 'UTC') - INTERVAL '7 days'
    GROUP BY collected_at::date
) AS by_day
WINDOW days AS (ORDER BY day);

CREATE VIEW monthly_dominance_history AS
SELECT date_trunc('month', collected_at)::date AS month,
       avg(btc_dominance) AS avg_btc_dominance,
       max(btc_dominance) AS max_btc_dominance,
       min(btc_dominance) AS min_btc_dominance,
       stddev_samp(btc_dominance) AS stddev_btc_dominance,
       avg(eth_dominance) AS avg_eth_dominance,
       count(*) AS observations
FROM coingecko_global
WHERE collected_at >= (now() AT TIME ZONE 'UTC') - INTERVAL '12 months'
GROUP BY 1;

CREATE VIEW kimchi_premium_realtime AS
WITH newest AS (
    SELECT * FROM coingecko_tickers
    WHERE collected_at = (SELECT max(collected_at) FROM coingecko_tickers)
      AND converted_last_usd > 0 AND NOT is_anomaly AND NOT is_stale
), korean AS (
    SELECT DISTINCT ON (coin_symbol) coin_symbol, coin_name, market_cap_rank,
           market_identifier AS korean_exchange, converted_last_usd AS korean_price_usd,
           converted_volume_usd AS korean_volume_usd, collected_at
    FROM newest WHERE is_korean_exchange AND target_symbol = 'KRW'
    ORDER BY coin_symbol, converted_volume_usd DESC NULLS LAST
), abroad AS (
    SELECT coin_symbol, avg(price) AS global_price_usd, sum(volume) AS global_volume_usd,
           count(*) AS global_exchanges
    FROM (
        -- One price an exchange: the pair that is traded most.
        SELECT DISTINCT ON (coin_symbol, market_identifier) coin_symbol,
               converted_last_usd AS price, converted_volume_usd AS volume
        FROM newest
        WHERE market_identifier IN ('binance', 'coinbase-exchange', 'gdax', 'kraken', 'bybit',
                                    'bybit_spot', 'okx', 'okex')
          AND trust_score = 'green'
        ORDER BY coin_symbol, market_identifier, converted_volume_usd DESC NULLS LAST
    ) AS venues
    GROUP BY coin_symbol HAVING count(*) >= 2
), premium AS (
    SELECT *, (korean_price_usd - global_price_usd) / global_price_usd * 100 AS premium_percentage
    FROM korean JOIN abroad USING (coin_symbol)
)
SELECT coin_symbol, coin_name, market_cap_rank, korean_exchange, korean_price_usd,
       global_price_usd, global_exchanges, premium_percentage, korean_volume_usd,
       global_volume_usd,
       CASE WHEN abs(premium_percentage) > 3 AND korean_volume_usd > 100000
                 AND global_volume_usd > 500000 THEN 'HIGH'
            WHEN abs(premium_percentage) > 1.5 AND korean_volume_usd > 50000 THEN 'MEDIUM'
            WHEN abs(premium_percentage) > 0.5 THEN 'LOW'
            ELSE 'NONE' END AS arbitrage_opportunity,
       collected_at
FROM premium
WHERE abs(premium_percentage) >= 0.3;

CREATE VIEW exchange_liquidity_analysis AS
SELECT market_identifier, market_name, is_korean_exchange,
       count(*) AS ticker_count,
       count(DISTINCT coin_symbol) AS coin_count,
       sum(converted_volume_usd) AS total_volume_usd,
       avg(bid_ask_spread_percentage) AS avg_spread_percentage,
       avg((trust_score = 'green')::integer) * 100 AS green_percentage,
       avg((trust_score = 'yellow')::integer) * 100 AS yellow_percentage,
       avg((trust_score = 'red')::integer) * 100 AS red_percentage,
       avg(CASE trust_score WHEN 'green' THEN 1.0 WHEN 'yellow' THEN 0.7 WHEN 'red' THEN 0.3
                            ELSE 0 END) * 100 AS trust_weighted_score,
       max(collected_at) AS collected_at
FROM coingecko_tickers
WHERE collected_at = (SELECT max(collected_at) FROM coingecko_tickers)
GROUP BY market_identifier, market_name, is_korean_exchange;

CREATE VIEW coin_price_consistency AS
SELECT *,
       CASE WHEN spread_percentage > 5 AND total_volume_usd > 1000000 THEN 'HIGH'
            WHEN spread_percentage > 2 AND total_volume_usd > 200000 THEN 'MEDIUM'
            WHEN spread_percentage > 1 THEN 'LOW'
            ELSE 'NONE' END AS arbitrage_opportunity
FROM (
    SELECT coingecko_id, coin_symbol,
           count(DISTINCT market_identifier) AS venue_count,
           min(converted_last_usd) AS min_price_usd,
           max(converted_last_usd) AS max_price_usd,
           avg(converted_last_usd) AS avg_price_usd,
           stddev_samp(converted_last_usd) AS stddev_price_usd,
           (max(converted_last_usd) - min(converted_last_usd))
               / nullif(avg(converted_last_usd), 0) * 100 AS spread_percentage,
           sum(converted_volume_usd) AS total_volume_usd,
           max(collected_at) AS collected_at
    FROM coingecko_tickers
    WHERE collected_at = (SELECT max(collected_at) FROM coingecko_tickers)
      AND converted_last_usd > 0 AND NOT is_anomaly AND NOT is_stale
    GROUP BY coingecko_id, coin_symbol
    HAVING count(DISTINCT market_identifier) >= 3
) AS venues;

CREATE VIEW v_kimchi_premium_realtime AS
WITH newest AS (
    SELECT DISTINCT ON (symbol, exchange_id) symbol, coingecko_id, coin_name, exchange_id,
           converted_last_usd, market_cap_rank, created_at
    FROM coingecko_tickers_bithumb
    WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'UTC')
      AND converted_last_usd > 0
      AND ((exchange_id = 'upbit' AND target = 'KRW')
           OR (exchange_id = 'binance' AND target IN ('USDT', 'USDC', 'USD', 'FDUSD', 'BUSD')))
    ORDER BY symbol, exchange_id, created_at DESC, converted_volume_usd DESC
)
SELECT upbit.symbol, upbit.coingecko_id, upbit.coin_name, upbit.market_cap_rank,
       upbit.converted_last_usd AS upbit_price_usd,
       binance.converted_last_usd AS binance_price_usd,
       upbit.converted_last_usd - binance.converted_last_usd AS premium_usd,
       (upbit.converted_last_usd - binance.converted_last_usd)
           / binance.converted_last_usd * 100 AS premium_percentage,
       upbit.created_at AS upbit_at,
       binance.created_at AS binance_at
FROM newest AS upbit
JOIN newest AS binance ON binance.symbol = upbit.symbol AND binance.exchange_id = 'binance'
WHERE upbit.exchange_id = 'upbit';

-- Members of the S&P 500 ----------------------------------------------------------------------

-- Who leaves stays in the table: other rows and people refer to it.
ALTER TABLE sp500_companies
    ADD COLUMN is_member  BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN removed_at TIMESTAMP,
    ADD COLUMN source     TEXT;

-- Yahoo ---------------------------------------------------------------------------------------

CREATE TABLE balance_sheet_yfinance (
    symbol               TEXT NOT NULL,
    fiscal_date_ending   DATE NOT NULL,
    total_assets         NUMERIC,
    total_liabilities    NUMERIC,
    total_equity         NUMERIC,
    cash_and_equivalents NUMERIC,
    total_debt           NUMERIC,
    net_debt             NUMERIC,
    working_capital      NUMERIC,
    updated_at           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source               TEXT NOT NULL DEFAULT 'yahoo',
    PRIMARY KEY (symbol, fiscal_date_ending)
);
CREATE INDEX idx_balance_sheet_yfinance_fiscal_date ON balance_sheet_yfinance (fiscal_date_ending);

CREATE TABLE income_stmt (
    symbol             TEXT NOT NULL,
    fiscal_date_ending DATE NOT NULL,
    total_revenue      NUMERIC,
    gross_profit       NUMERIC,
    operating_income   NUMERIC,
    net_income         NUMERIC,
    ebitda             NUMERIC,
    basic_eps          NUMERIC,
    diluted_eps        NUMERIC,
    updated_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source             TEXT NOT NULL DEFAULT 'yahoo',
    PRIMARY KEY (symbol, fiscal_date_ending)
);
CREATE INDEX idx_income_stmt_fiscal_date ON income_stmt (fiscal_date_ending);

CREATE TABLE cash_flow (
    symbol               TEXT NOT NULL,
    fiscal_date_ending   DATE NOT NULL,
    operating_cashflow   NUMERIC,
    investing_cashflow   NUMERIC,
    financing_cashflow   NUMERIC,
    capital_expenditures NUMERIC,
    free_cash_flow       NUMERIC,
    updated_at           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source               TEXT NOT NULL DEFAULT 'yahoo',
    PRIMARY KEY (symbol, fiscal_date_ending)
);
CREATE INDEX idx_cash_flow_fiscal_date ON cash_flow (fiscal_date_ending);

CREATE TABLE earnings_history (
    symbol             TEXT NOT NULL,
    report_date        DATE NOT NULL,             -- New York's
    eps_estimate       NUMERIC,
    eps_actual         NUMERIC,
    surprise_pct       NUMERIC,
    price_before_close NUMERIC,                   -- of the last session that did not know the report
    price_open         NUMERIC,                   -- of the first session that did
    price_close        NUMERIC,
    gap_pct            NUMERIC,
    move_pct           NUMERIC,
    created_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    reported_at        TIMESTAMPTZ NOT NULL,      -- with the hour that decides the session
    reaction_date      DATE NOT NULL,
    source             TEXT NOT NULL DEFAULT 'yahoo',
    PRIMARY KEY (symbol, report_date)
);
CREATE INDEX idx_earnings_history_report_date ON earnings_history (report_date);

CREATE TABLE institutional_holders (
    symbol        TEXT NOT NULL,
    holder_name   TEXT NOT NULL,
    shares_held   BIGINT,
    date_reported DATE,
    change_pct    NUMERIC,
    pct_out       NUMERIC,                        -- percent
    value_usd     NUMERIC,
    updated_at    TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source        TEXT NOT NULL DEFAULT 'yahoo',
    PRIMARY KEY (symbol, holder_name)
);
CREATE INDEX idx_institutional_holders_date_reported ON institutional_holders (date_reported);

CREATE TABLE insider_trading (
    symbol             TEXT NOT NULL,
    insider_name       TEXT,
    position           TEXT,
    transaction_date   DATE NOT NULL,
    transaction_type   TEXT,                      -- Sale, Buy, Gift, Grant, Exercise or Other
    shares_transacted  BIGINT,
    price              NUMERIC,
    shares_owned_after BIGINT,                    -- Yahoo no longer says
    updated_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    transaction_text   TEXT,
    value_usd          NUMERIC,
    ownership          TEXT,                      -- D: directly, I: indirectly
    trade_key          TEXT NOT NULL,             -- of all fields, and which of several equal ones
    source             TEXT NOT NULL DEFAULT 'yahoo',
    CONSTRAINT insider_trading_key UNIQUE (symbol, trade_key)
);
CREATE INDEX idx_insider_trading_transaction_date ON insider_trading (transaction_date);

-- Earnings and what was written about them ----------------------------------------------------

CREATE TABLE sp500_earnings_calendar (
    id                  INTEGER PRIMARY KEY,      -- given by the job, so that news can name it
    symbol              TEXT NOT NULL,
    company_name        TEXT NOT NULL,
    report_date         DATE NOT NULL,
    fiscal_date_ending  DATE,
    estimate            NUMERIC,
    currency            TEXT DEFAULT 'USD',
    gics_sector         TEXT,
    gics_sub_industry   TEXT,
    headquarters        TEXT,
    event_type          TEXT DEFAULT 'earnings_report',
    event_title         TEXT,
    event_description   TEXT,
    total_news_count    INTEGER DEFAULT 0,
    forecast_news_count INTEGER DEFAULT 0,
    reaction_news_count INTEGER DEFAULT 0,
    created_at          TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at          TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT unique_symbol_report_date UNIQUE (symbol, report_date)
);
CREATE INDEX idx_sp500_earnings_report_date ON sp500_earnings_calendar (report_date);

CREATE TABLE sp500_earnings_news (
    id                 SERIAL PRIMARY KEY,
    calendar_id        INTEGER NOT NULL REFERENCES sp500_earnings_calendar (id) ON DELETE CASCADE,
    source_table       TEXT NOT NULL,
    title              TEXT NOT NULL,
    url                TEXT NOT NULL,
    summary            TEXT,
    content            TEXT,
    source             TEXT,
    published_at       TIMESTAMP NOT NULL,
    news_section       TEXT NOT NULL,             -- forecast or reaction
    days_from_earnings INTEGER,
    fetched_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    created_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT unique_calendar_url UNIQUE (calendar_id, url)
);
CREATE INDEX idx_sp500_news_published ON sp500_earnings_news (published_at);
