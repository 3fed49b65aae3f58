-- The rows of tickers that a snapshot put, and of which the venue's stream has not delivered the
-- trade yet: a later message of the stream with this trade is the same trade, and not another one.
-- A row is written and removed in the transaction of the batch that decides it, so a consumer that
-- resumes knows exactly what its predecessor knew. There are at most a few for each symbol.
CREATE TABLE snapshot_rows (
    feed  TEXT NOT NULL,
    shard INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    PRIMARY KEY (feed, shard, epoch, seq)
);
