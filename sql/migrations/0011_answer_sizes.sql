-- How many values the last complete answer to an item's page had. A far smaller answer is kept aside
-- as a dead letter and does not replace rows.
CREATE TABLE answer_sizes (
    job         TEXT NOT NULL,
    source      TEXT NOT NULL,
    item        TEXT NOT NULL,
    page        INTEGER NOT NULL,
    value_count BIGINT NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (job, source, item, page)
);
