-- What the batch jobs need besides their own tables: quotas, runs, progress, findings.

-- Quotas ----------------------------------------------------------------------------------------
--
-- A grant is a row, committed before the call it allows. `key` is a fingerprint; the empty one
-- stands for a provider that needs none.

CREATE TABLE quota_keys (
    provider       TEXT NOT NULL,
    key            TEXT NOT NULL,
    last_grant_at  TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    rest_until     TIMESTAMPTZ NOT NULL DEFAULT '-infinity',  -- year 9999: until the key is changed
    rest_reason    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (provider, key)
);

-- Recent grants, for the windows that slide.
CREATE TABLE quota_grants (
    id         BIGINT GENERATED ALWAYS AS IDENTITY,
    provider   TEXT NOT NULL,
    key        TEXT NOT NULL,
    granted_at TIMESTAMPTZ NOT NULL,
    calls      INTEGER NOT NULL,
    job        TEXT NOT NULL DEFAULT ''
);
CREATE INDEX quota_grants_recent ON quota_grants (provider, key, granted_at);

-- Calls per calendar window.
CREATE TABLE quota_counters (
    provider TEXT NOT NULL,
    key      TEXT NOT NULL,
    "window" TEXT NOT NULL,
    start_at TIMESTAMPTZ NOT NULL,
    calls    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, key, "window", start_at)
);

-- Runs ------------------------------------------------------------------------------------------

CREATE TABLE job_runs (
    job           TEXT NOT NULL,
    slot          TIMESTAMPTZ NOT NULL,           -- the moment it was due
    attempt       INTEGER NOT NULL DEFAULT 1,
    state         TEXT NOT NULL CHECK (state IN ('claimed', 'running', 'succeeded', 'nothing_new',
                                                 'deferred', 'failed', 'refused', 'skipped')),
    trigger       TEXT NOT NULL DEFAULT 'schedule', -- schedule, hand or backfill
    holder        TEXT NOT NULL DEFAULT '',
    submission_id TEXT NOT NULL DEFAULT '',       -- of the Ray job
    claimed_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at    TIMESTAMPTZ,
    heartbeat_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at   TIMESTAMPTZ,
    not_before    TIMESTAMPTZ,                    -- of a deferred run: when it may go on
    items         INTEGER NOT NULL DEFAULT 0,     -- planned
    items_done    INTEGER NOT NULL DEFAULT 0,
    calls         INTEGER NOT NULL DEFAULT 0,
    rows_seen     BIGINT NOT NULL DEFAULT 0,
    rows_new      BIGINT NOT NULL DEFAULT 0,
    rows_changed  BIGINT NOT NULL DEFAULT 0,
    rows_parked   BIGINT NOT NULL DEFAULT 0,
    sources       TEXT[] NOT NULL DEFAULT '{}',
    why           TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, slot)
);
CREATE INDEX job_runs_recent ON job_runs (claimed_at);
CREATE INDEX job_runs_open ON job_runs (state) WHERE state IN ('claimed', 'running', 'deferred');

-- Progress per item, written in the transaction of its rows. A sweep has one row an item, of cycle
-- 'epoch'; any other job one a slot and item.
CREATE TABLE job_items (
    job        TEXT NOT NULL,
    cycle      TIMESTAMPTZ NOT NULL,
    source     TEXT NOT NULL DEFAULT '',
    item       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('paging', 'done', 'empty', 'not_found', 'failed')),
    attempts   INTEGER NOT NULL DEFAULT 0,        -- failures in a row
    rows       BIGINT NOT NULL DEFAULT 0,         -- of the last collection
    next       JSONB,                             -- the next page, while paging
    done_at    TIMESTAMPTZ,
    not_before TIMESTAMPTZ,                       -- of a failed or unknown item: when to ask again
    why        TEXT NOT NULL DEFAULT '',
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (job, cycle, source, item)
);

-- The number of a slot's batch, so that a repeated run writes the same rows again.
CREATE TABLE job_batches (
    job   TEXT NOT NULL,
    slot  TIMESTAMPTZ NOT NULL,
    batch BIGINT NOT NULL,
    PRIMARY KEY (job, slot),
    UNIQUE (job, batch)
);

-- Answers that could not be read whole; their dead letters name them.
CREATE TABLE payloads (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         TEXT NOT NULL,
    source      TEXT NOT NULL,
    slot        TIMESTAMPTZ NOT NULL,
    batch       BIGINT NOT NULL DEFAULT 0,
    request     JSONB NOT NULL,
    body        TEXT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE findings (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job      TEXT NOT NULL,
    slot     TIMESTAMPTZ NOT NULL,
    "table"  TEXT NOT NULL,
    "check"  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    found_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (job, slot, "table", "check", detail)
);

-- Grant up to `wanted` calls to one of `keys`, all of them of one provider, the least used first.
--
-- `windows` is a JSON array of {name, limit, period_s} for windows that slide and {name, limit,
-- start_at, end_at} for the calendar's, `reserve` the part of the calendar's windows that stays for
-- others. Granting and counting are one transaction under a lock of the provider, so that two
-- clusters on one database share one budget. Returns one row: the key and the calls granted, or no
-- key and how long to wait; `moment` is the database's clock unless a test says otherwise.
CREATE FUNCTION grant_calls(
    p_provider TEXT, p_keys TEXT[], p_windows JSONB, p_wanted INTEGER, p_job TEXT,
    p_reserve DOUBLE PRECISION DEFAULT 0, p_moment TIMESTAMPTZ DEFAULT NULL,
    OUT granted_key TEXT, OUT granted INTEGER, OUT wait_until TIMESTAMPTZ, OUT blocked_by TEXT
) LANGUAGE plpgsql AS $$
DECLARE
    candidate RECORD;
    win JSONB;
    moment TIMESTAMPTZ;
    room INTEGER;
    used BIGINT;
    cap INTEGER;
    free_at TIMESTAMPTZ;
    key_free_at TIMESTAMPTZ;
    key_blocked TEXT;
    longest INTERVAL := interval '1 second';
BEGIN
    granted := 0;
    PERFORM pg_advisory_xact_lock(hashtext('quota'), hashtext(p_provider));
    INSERT INTO quota_keys (provider, key) SELECT p_provider, unnest(p_keys) ON CONFLICT DO NOTHING;
    FOR candidate IN
        SELECT * FROM quota_keys WHERE provider = p_provider AND key = ANY (p_keys)
        ORDER BY last_grant_at, key
    LOOP
        -- A clock that was put back must not open a window again.
        moment := greatest(coalesce(p_moment, clock_timestamp()), candidate.last_grant_at);
        room := p_wanted;
        key_free_at := NULL;
        key_blocked := NULL;
        IF candidate.rest_until > moment THEN
            room := 0;
            key_free_at := candidate.rest_until;
            key_blocked := candidate.rest_reason;
        END IF;
        FOR win IN SELECT * FROM jsonb_array_elements(p_windows) LOOP
            IF win ? 'period_s' THEN
                cap := (win->>'limit')::integer;
                longest := greatest(longest, make_interval(secs => (win->>'period_s')::float8));
                SELECT coalesce(sum(calls), 0) INTO used FROM quota_grants
                WHERE provider = p_provider AND key = candidate.key
                  AND granted_at > moment - make_interval(secs => (win->>'period_s')::float8);
            ELSE
                cap := floor((win->>'limit')::integer * (1 - p_reserve));
                SELECT coalesce(sum(calls), 0) INTO used FROM quota_counters
                WHERE provider = p_provider AND key = candidate.key AND "window" = win->>'name'
                  AND start_at >= (win->>'start_at')::timestamptz;
            END IF;
            IF cap - used < room THEN
                room := greatest(cap - used, 0);
            END IF;
            IF cap - used <= 0 THEN
                IF win ? 'period_s' THEN
                    -- The window has room when enough of its oldest grants have left it.
                    SELECT g.granted_at + make_interval(secs => (win->>'period_s')::float8) INTO free_at
                    FROM (SELECT granted_at, sum(calls) OVER (ORDER BY granted_at, id) AS gone
                          FROM quota_grants
                          WHERE provider = p_provider AND key = candidate.key
                            AND granted_at > moment - make_interval(secs => (win->>'period_s')::float8)
                         ) AS g
                    WHERE g.gone > used - cap ORDER BY g.gone LIMIT 1;
                ELSE
                    free_at := (win->>'end_at')::timestamptz;
                END IF;
                IF key_free_at IS NULL OR free_at > key_free_at THEN
                    key_free_at := free_at;
                    key_blocked := win->>'name';
                END IF;
            END IF;
        END LOOP;
        IF room > 0 THEN
            granted_key := candidate.key;
            granted := room;
            wait_until := NULL;
            blocked_by := NULL;
            INSERT INTO quota_grants (provider, key, granted_at, calls, job)
            VALUES (p_provider, candidate.key, moment, room, p_job);
            UPDATE quota_keys SET last_grant_at = moment
            WHERE provider = p_provider AND key = candidate.key;
            INSERT INTO quota_counters (provider, key, "window", start_at, calls)
            SELECT p_provider, candidate.key, w->>'name', (w->>'start_at')::timestamptz, room
            FROM jsonb_array_elements(p_windows) AS w WHERE w ? 'start_at'
            ON CONFLICT (provider, key, "window", start_at)
            DO UPDATE SET calls = quota_counters.calls + excluded.calls;
            RETURN;
        END IF;
        IF wait_until IS NULL OR key_free_at < wait_until THEN
            wait_until := key_free_at;
            blocked_by := key_blocked;
        END IF;
    END LOOP;
END $$;
