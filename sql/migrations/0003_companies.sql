-- Companies, calendars, funds, macro-economic series: what Alpha Vantage, FRED and FMP give.
--
-- The columns that other programs read keep their names, order and types, but numbers have no scale
-- that could round them, and naive timestamps hold UTC. `source` says which provider a row is from.

CREATE TABLE balance_sheet (
    symbol                                 TEXT NOT NULL,
    fiscaldateending                       DATE NOT NULL,
    reportedcurrency                       TEXT,
    totalassets                            NUMERIC,
    totalcurrentassets                     NUMERIC,
    totalnoncurrentassets                  NUMERIC,
    cashandcashequivalentsatcarryingvalue  NUMERIC,
    cashandshortterminvestments            NUMERIC,
    shortterminvestments                   NUMERIC,
    inventory                              NUMERIC,
    currentnetreceivables                  NUMERIC,
    othercurrentassets                     NUMERIC,
    propertyplantequipment                 NUMERIC,
    accumulateddepreciationamortizationppe NUMERIC,
    intangibleassets                       NUMERIC,
    intangibleassetsexcludinggoodwill      NUMERIC,
    goodwill                               NUMERIC,
    investments                            NUMERIC,
    longterminvestments                    NUMERIC,
    othernoncurrentassets                  NUMERIC,
    totalliabilities                       NUMERIC,
    totalcurrentliabilities                NUMERIC,
    totalnoncurrentliabilities             NUMERIC,
    currentaccountspayable                 NUMERIC,
    deferredrevenue                        NUMERIC,
    othercurrentliabilities                NUMERIC,
    othernoncurrentliabilities             NUMERIC,
    currentdebt                            NUMERIC,
    shorttermdebt                          NUMERIC,
    longtermdebt                           NUMERIC,
    currentlongtermdebt                    NUMERIC,
    longtermdebtnoncurrent                 NUMERIC,
    shortlongtermdebttotal                 NUMERIC,
    capitalleaseobligations                NUMERIC,
    totalshareholderequity                 NUMERIC,
    treasurystock                          NUMERIC,
    retainedearnings                       NUMERIC,
    commonstock                            NUMERIC,
    commonstocksharesoutstanding           NUMERIC,
    fetched_at                             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                                 TEXT,
    PRIMARY KEY (symbol, fiscaldateending)
);
CREATE INDEX idx_balance_sheet_fiscal_date ON balance_sheet (fiscaldateending);

CREATE TABLE company_overview (
    batch_id                      BIGINT NOT NULL,
    symbol                        TEXT NOT NULL,
    asset_type                    TEXT,
    name                          TEXT NOT NULL,
    description                   TEXT,
    cik                           TEXT,
    exchange                      TEXT,
    currency                      TEXT,
    country                       TEXT,
    sector                        TEXT,
    industry                      TEXT,
    address                       TEXT,
    official_site                 TEXT,
    fiscal_year_end               TEXT,
    latest_quarter                TEXT,
    market_capitalization         BIGINT,
    ebitda                        BIGINT,
    pe_ratio                      NUMERIC,
    peg_ratio                     NUMERIC,
    book_value                    NUMERIC,
    dividend_per_share            NUMERIC,
    dividend_yield                NUMERIC,
    eps                           NUMERIC,
    revenue_per_share_ttm         NUMERIC,
    profit_margin                 NUMERIC,
    operating_margin_ttm          NUMERIC,
    return_on_assets_ttm          NUMERIC,
    return_on_equity_ttm          NUMERIC,
    revenue_ttm                   BIGINT,
    gross_profit_ttm              BIGINT,
    diluted_eps_ttm               NUMERIC,
    quarterly_earnings_growth_yoy NUMERIC,
    quarterly_revenue_growth_yoy  NUMERIC,
    analyst_target_price          NUMERIC,
    trailing_pe                   NUMERIC,
    forward_pe                    NUMERIC,
    price_to_sales_ratio_ttm      NUMERIC,
    price_to_book_ratio           NUMERIC,
    ev_to_revenue                 NUMERIC,
    ev_to_ebitda                  NUMERIC,
    beta                          NUMERIC,
    week_52_high                  NUMERIC,
    week_52_low                   NUMERIC,
    day_50_moving_average         NUMERIC,
    day_200_moving_average        NUMERIC,
    shares_outstanding            BIGINT,
    dividend_date                 TEXT,
    ex_dividend_date              TEXT,
    created_at                    TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                        TEXT,
    updated_at                    TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (batch_id, symbol)
);
CREATE INDEX idx_company_overview_symbol ON company_overview (symbol, batch_id DESC);
CREATE INDEX idx_company_overview_sector ON company_overview (sector);
CREATE INDEX idx_company_overview_market_cap ON company_overview (market_capitalization);

CREATE TABLE earnings_calendar (
    symbol             TEXT NOT NULL,
    report_date        DATE NOT NULL,
    company_name       TEXT,
    fiscal_date_ending DATE,
    estimate           NUMERIC,
    currency           TEXT,
    event_description  TEXT,
    fetched_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source             TEXT,
    time_of_day        TEXT,                      -- pre-market or post-market, where it is known
    PRIMARY KEY (symbol, report_date)
);
CREATE INDEX idx_earnings_calendar_report_date ON earnings_calendar (report_date);

CREATE TABLE ipo_calendar (
    id               SERIAL PRIMARY KEY,
    symbol           TEXT NOT NULL,
    company_name     TEXT NOT NULL,
    ipo_date         DATE NOT NULL,
    price_range_low  NUMERIC,
    price_range_high NUMERIC,
    currency         TEXT DEFAULT 'USD',
    exchange         TEXT,
    fetched_at       TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    created_at       TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at       TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source           TEXT,
    UNIQUE (symbol, ipo_date)
);
CREATE INDEX idx_ipo_calendar_date ON ipo_calendar (ipo_date);

CREATE TABLE etf_basic_info (
    symbol                 TEXT PRIMARY KEY,
    name                   TEXT NOT NULL,
    fund_family            TEXT,
    category               TEXT,
    popularity_rank        INTEGER,
    expense_ratio          NUMERIC,
    aum                    BIGINT,
    inception_date         DATE,
    dividend_yield         NUMERIC,
    nav                    NUMERIC,
    beta                   NUMERIC,
    week_52_high           NUMERIC,
    week_52_low            NUMERIC,
    ytd_return             NUMERIC,
    yahoo_collected        BOOLEAN DEFAULT FALSE,
    finnhub_enabled        BOOLEAN DEFAULT FALSE,
    alphavantage_collected BOOLEAN DEFAULT FALSE,
    description            TEXT,
    website_url            TEXT,
    created_at             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE etf_profile_holdings (
    id                 SERIAL PRIMARY KEY,
    symbol             TEXT NOT NULL UNIQUE REFERENCES etf_basic_info (symbol),
    net_assets         BIGINT,
    net_expense_ratio  NUMERIC,
    portfolio_turnover NUMERIC,
    dividend_yield     NUMERIC,
    inception_date     DATE,
    leveraged          TEXT,
    sectors            JSONB,
    holdings           JSONB,
    collected_at       TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at         TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source             TEXT
);

-- Other programs read this table by position: these fourteen columns come first, in this order. An
-- article is one row, of the batch that saw it first; its queries are in the table after it.
CREATE TABLE market_news_sentiment (
    batch_id                BIGINT NOT NULL,
    url                     TEXT PRIMARY KEY,
    title                   TEXT NOT NULL,
    time_published          TIMESTAMP NOT NULL,
    authors                 TEXT,
    summary                 TEXT,
    source                  TEXT,
    overall_sentiment_score NUMERIC,
    overall_sentiment_label TEXT,
    ticker_sentiment        JSONB,
    topics                  JSONB,
    query_type              TEXT NOT NULL,
    query_params            TEXT,
    created_at              TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider                TEXT
);
CREATE INDEX idx_news_sentiment_batch ON market_news_sentiment (batch_id);
CREATE INDEX idx_news_sentiment_published ON market_news_sentiment (time_published);
CREATE INDEX idx_news_sentiment_tickers ON market_news_sentiment USING gin (ticker_sentiment);
CREATE INDEX idx_news_sentiment_topics ON market_news_sentiment USING gin (topics);

CREATE TABLE market_news_sentiment_queries (
    url           TEXT NOT NULL,
    query_type    TEXT NOT NULL,
    query_params  TEXT,
    first_seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (url, query_type)
);

CREATE TABLE cpi (
    date          DATE PRIMARY KEY,
    cpi_value     NUMERIC,
    interval_type TEXT DEFAULT 'monthly',
    unit          TEXT DEFAULT 'index 1982-1984=100',
    name          TEXT DEFAULT 'Consumer Price Index for all Urban Consumers',
    source        TEXT,
    updated_at    TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE inflation (
    date           DATE PRIMARY KEY,
    inflation_rate NUMERIC,
    interval_type  TEXT DEFAULT 'annual',
    unit           TEXT DEFAULT 'percent',
    name           TEXT DEFAULT 'Inflation, consumer prices for the United States',
    source         TEXT,
    updated_at     TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE federal_funds_rate (
    date          DATE PRIMARY KEY,
    rate          NUMERIC,
    interval_type TEXT DEFAULT 'monthly',
    unit          TEXT DEFAULT 'percent',
    name          TEXT DEFAULT 'Effective Federal Funds Rate',
    source        TEXT,
    updated_at    TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE treasury_yield (
    date          DATE NOT NULL,
    maturity      TEXT NOT NULL,
    interval_type TEXT NOT NULL,
    yield_rate    NUMERIC,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    source        TEXT,
    PRIMARY KEY (date, maturity, interval_type)
);
CREATE INDEX idx_treasury_yield_maturity ON treasury_yield (maturity, date);

ALTER TABLE top_gainers ADD COLUMN source TEXT;

CREATE TABLE sp500_top50 (
    symbol       TEXT PRIMARY KEY,
    company_name TEXT NOT NULL,
    sector       TEXT,
    industry     TEXT,
    created_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

-- How far the two great sweeps are, as the earlier system's tables told it.
CREATE VIEW company_overview_progress AS
SELECT 1 AS id, 'sp500_full' AS collection_name,
       count(i.item)::integer AS current_position,
       (SELECT count(*)::integer FROM sp500_companies) AS total_symbols,
       max(i.updated_at) AT TIME ZONE 'UTC' AS last_updated,
       CASE WHEN count(i.item) >= (SELECT count(*) FROM sp500_companies) THEN 'completed'
            ELSE 'active' END AS status
FROM job_items AS i
WHERE i.job = 'company_overview' AND i.state IN ('done', 'empty', 'not_found');

CREATE VIEW company_news_progress AS
SELECT 1 AS id, 'sp500_news' AS collection_name,
       count(i.item)::integer AS current_position,
       (SELECT count(*)::integer FROM sp500_companies) AS total_symbols,
       max(i.updated_at) AT TIME ZONE 'UTC' AS last_updated,
       CASE WHEN count(i.item) >= (SELECT count(*) FROM sp500_companies) THEN 'completed'
            ELSE 'active' END AS status
FROM job_items AS i
WHERE i.job = 'company_news' AND i.state IN ('done', 'empty', 'not_found');
