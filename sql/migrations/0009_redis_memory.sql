-- What a consumer reports about the memory of its feed's values in Redis. NULL: not measured yet.
ALTER TABLE consumer_state
    ADD COLUMN redis_bytes        BIGINT,                    -- of this feed
    ADD COLUMN redis_budget_bytes BIGINT,                    -- for all feeds together
    ADD COLUMN redis_retention_s  DOUBLE PRECISION,          -- age of the oldest value that is kept
    ADD COLUMN redis_shortened    TEXT NOT NULL DEFAULT '';  -- why that is less than configured
