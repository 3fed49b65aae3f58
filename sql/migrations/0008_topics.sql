-- The topics of this database: their partitions in the broker, and the prefix of their names.

-- Written by the supervisor every ten seconds. A partition that no consumer reads has a row of its
-- own nowhere else, so the lag would not include its records.
CREATE TABLE topic_state (
    topic         TEXT PRIMARY KEY,
    feed          TEXT NOT NULL,
    configured    INTEGER NOT NULL,               -- partitions that the settings name
    first_offsets BIGINT[] NOT NULL,              -- of each partition in the broker, from 0 on
    end_offsets   BIGINT[] NOT NULL,
    generation    INTEGER NOT NULL,               -- of the supervisor that wrote the row
    checked_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The rows of leases, stream_sequences and gaps name a feed, not a topic: topics of two prefixes
-- would share them. One row: the prefix of the pipeline that uses this database.
CREATE TABLE stream_identity (
    topic_prefix TEXT NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    only_row     BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row)
);
