-- News and social posts: what NewsAPI, Finnhub, X and Truth Social give.
--
-- `source` is the publisher in the tables that other programs read; who gave us the row is in
-- `provider`. Naive timestamps hold UTC.

CREATE TABLE market_news (
    source       TEXT NOT NULL,
    url          TEXT NOT NULL,
    author       TEXT,
    title        TEXT NOT NULL,
    description  TEXT,
    content      TEXT,
    published_at TIMESTAMP NOT NULL,
    fetched_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider     TEXT,
    PRIMARY KEY (source, url)
);
CREATE INDEX idx_market_news_published ON market_news (published_at);

CREATE TABLE market_news_finnhub (
    category   TEXT NOT NULL,
    news_id    BIGINT NOT NULL,
    datetime   TIMESTAMP NOT NULL,
    headline   TEXT,
    image      TEXT,
    related    TEXT,
    source     TEXT,
    summary    TEXT,
    url        TEXT,
    fetched_at TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider   TEXT,
    PRIMARY KEY (category, news_id)
);
CREATE INDEX idx_market_news_finnhub_datetime ON market_news_finnhub (datetime);

CREATE TABLE company_news (
    symbol       TEXT NOT NULL,
    url          TEXT NOT NULL,
    source       TEXT,
    title        TEXT,
    description  TEXT,
    content      TEXT,
    published_at TIMESTAMP NOT NULL,
    fetched_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider     TEXT,
    PRIMARY KEY (symbol, url)
);
CREATE INDEX idx_company_news_published ON company_news (symbol, published_at DESC);

CREATE TABLE earnings_news (
    symbol       TEXT NOT NULL,
    company_name TEXT NOT NULL,
    report_date  DATE NOT NULL,
    source       TEXT NOT NULL,
    title        TEXT,
    url          TEXT NOT NULL,
    published_at TIMESTAMP,
    fetched_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider     TEXT,
    PRIMARY KEY (symbol, report_date, source, url)
);

CREATE TABLE earnings_news_finnhub (
    symbol       TEXT NOT NULL,
    report_date  DATE NOT NULL,
    url          TEXT NOT NULL,
    category     TEXT,
    article_id   TEXT,
    headline     TEXT,
    image        TEXT,
    related      TEXT,
    source       TEXT,
    summary      TEXT,
    published_at TIMESTAMP NOT NULL,
    fetched_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    provider     TEXT,
    PRIMARY KEY (symbol, report_date, url)
);
CREATE INDEX idx_earnings_news_finnhub_published ON earnings_news_finnhub (published_at);

CREATE TABLE x_user_profiles (
    username     TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL UNIQUE,
    display_name TEXT,
    category     TEXT,
    created_at   TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source       TEXT
);
-- A handle is the same whatever its capitals.
CREATE UNIQUE INDEX idx_x_user_profiles_handle ON x_user_profiles (lower(username));

CREATE TABLE x_posts (
    tweet_id               TEXT PRIMARY KEY,
    author_id              TEXT NOT NULL,
    text                   TEXT NOT NULL,
    created_at             TIMESTAMPTZ NOT NULL,
    lang                   TEXT DEFAULT 'en',
    source_account         TEXT NOT NULL,
    account_category       TEXT DEFAULT 'core_investors',
    collection_source      TEXT DEFAULT 'primary_token',
    retweet_count          INTEGER DEFAULT 0,
    reply_count            INTEGER DEFAULT 0,
    like_count             INTEGER DEFAULT 0,
    quote_count            INTEGER DEFAULT 0,
    bookmark_count         INTEGER DEFAULT 0,
    impression_count       BIGINT DEFAULT 0,
    hashtags               JSONB,
    mentions               JSONB,
    urls                   JSONB,
    cashtags               JSONB,
    annotations            JSONB,
    context_annotations    JSONB,
    username               TEXT,
    display_name           TEXT,
    user_verified          BOOLEAN DEFAULT FALSE,
    user_followers_count   INTEGER DEFAULT 0,
    user_following_count   INTEGER DEFAULT 0,
    user_tweet_count       INTEGER DEFAULT 0,
    edit_history_tweet_ids JSONB,
    collected_at           TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    referenced_tweets      JSONB,
    source                 TEXT
);
CREATE INDEX idx_x_posts_created_at ON x_posts (created_at DESC);
CREATE INDEX idx_x_posts_account ON x_posts (source_account, created_at DESC);
CREATE INDEX idx_x_posts_text ON x_posts USING gin (to_tsvector('english', text));

CREATE TABLE truth_social_posts (
    id                TEXT PRIMARY KEY,
    created_at        TIMESTAMPTZ NOT NULL,
    username          TEXT NOT NULL,
    account_id        TEXT NOT NULL,
    display_name      TEXT,
    verified          BOOLEAN DEFAULT FALSE,
    content           TEXT NOT NULL,
    clean_content     TEXT,
    language          TEXT,
    replies_count     INTEGER DEFAULT 0,
    reblogs_count     INTEGER DEFAULT 0,
    favourites_count  INTEGER DEFAULT 0,
    upvotes_count     INTEGER DEFAULT 0,
    downvotes_count   INTEGER DEFAULT 0,
    url               TEXT,
    uri               TEXT,
    has_media         BOOLEAN NOT NULL DEFAULT FALSE,
    media_count       INTEGER DEFAULT 0,
    media_attachments JSONB,
    tags              JSONB DEFAULT '[]',
    mentions          JSONB DEFAULT '[]',
    has_tags          BOOLEAN DEFAULT FALSE,
    has_mentions      BOOLEAN DEFAULT FALSE,
    card_url          TEXT,
    card_title        TEXT,
    card_description  TEXT,
    card_image        TEXT,
    visibility        TEXT DEFAULT 'public',
    sensitive         BOOLEAN DEFAULT FALSE,
    spoiler_text      TEXT,
    in_reply_to_id    TEXT,
    quote_id          TEXT,
    account_type      TEXT DEFAULT 'individual',
    market_influence  INTEGER DEFAULT 0,
    collected_at      TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at        TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source            TEXT
);
CREATE INDEX idx_truth_posts_created_at ON truth_social_posts (created_at DESC);
CREATE INDEX idx_truth_posts_username ON truth_social_posts (username, created_at DESC);
CREATE INDEX idx_truth_posts_content ON truth_social_posts
    USING gin (to_tsvector('english', clean_content));

CREATE TABLE truth_social_trends (
    id                TEXT PRIMARY KEY,
    created_at        TIMESTAMPTZ NOT NULL,
    username          TEXT NOT NULL,
    account_id        TEXT NOT NULL,
    display_name      TEXT,
    content           TEXT NOT NULL,
    clean_content     TEXT,
    language          TEXT,
    replies_count     INTEGER DEFAULT 0,
    reblogs_count     INTEGER DEFAULT 0,
    favourites_count  INTEGER DEFAULT 0,
    upvotes_count     INTEGER DEFAULT 0,
    downvotes_count   INTEGER DEFAULT 0,
    url               TEXT,
    uri               TEXT,
    has_media         BOOLEAN NOT NULL DEFAULT FALSE,
    media_count       INTEGER DEFAULT 0,
    media_attachments JSONB,
    tags              JSONB DEFAULT '[]',
    mentions          JSONB DEFAULT '[]',
    visibility        TEXT DEFAULT 'public',
    sensitive         BOOLEAN DEFAULT FALSE,
    in_reply_to_id    TEXT,
    trend_rank        INTEGER,
    trend_score       NUMERIC,
    collected_at      TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at        TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source            TEXT
);
CREATE INDEX idx_truth_trends_rank ON truth_social_trends (updated_at DESC, trend_rank);

-- Which place a post had, and when: the table above keeps the last one only.
CREATE TABLE truth_social_trend_ranks (
    id           TEXT NOT NULL,
    collected_at TIMESTAMPTZ NOT NULL,
    trend_rank   INTEGER NOT NULL,
    PRIMARY KEY (id, collected_at)
);

CREATE TABLE truth_social_tags (
    name                  TEXT NOT NULL,
    collected_date        DATE NOT NULL,
    url                   TEXT,
    total_uses            INTEGER DEFAULT 0,
    total_accounts        INTEGER DEFAULT 0,
    recent_statuses_count INTEGER DEFAULT 0,
    history_data          JSONB,
    day_0_uses            INTEGER DEFAULT 0,
    day_1_uses            INTEGER DEFAULT 0,
    day_2_uses            INTEGER DEFAULT 0,
    day_3_uses            INTEGER DEFAULT 0,
    day_4_uses            INTEGER DEFAULT 0,
    day_5_uses            INTEGER DEFAULT 0,
    day_6_uses            INTEGER DEFAULT 0,
    trend_score           NUMERIC,
    growth_rate           NUMERIC,
    weekly_average        NUMERIC,
    tag_category          TEXT,
    market_relevance      INTEGER DEFAULT 0,
    collected_at          TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at            TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    source                TEXT,
    PRIMARY KEY (name, collected_date)
);
CREATE INDEX idx_truth_tags_date ON truth_social_tags (collected_date DESC, total_uses DESC);
