-- Count each call in every window in which it may reach the provider.
--
-- A call is counted when its permit is granted, but the provider counts it when it arrives. The
-- arrival is known only within bounds: not before the grant, and not after `arrives_by`.

-- The latest time at which the call may reach the provider. A permit expires, and a call has a
-- timeout, so the time is known at the grant. The answer proves an earlier arrival.
ALTER TABLE quota_grants ADD COLUMN arrives_by TIMESTAMPTZ;
ALTER TABLE quota_grants ADD PRIMARY KEY (id);
DROP INDEX quota_grants_recent;
CREATE INDEX quota_grants_recent
    ON quota_grants (provider, key, (coalesce(arrives_by, granted_at)));

-- The calls of the time between a backup and its restore are unknown. `restore` may have created
-- the table: a backup can be older than this migration.
CREATE TABLE IF NOT EXISTS quota_restores (restored_at TIMESTAMPTZ PRIMARY KEY);

-- A calendar window is {reset, zone, at}: 'day' or 'month', a time zone, and the local time of the
-- reset. The database computes its limits: the clock and the time zones of a client may be wrong.
CREATE FUNCTION quota_window_start(p_window JSONB, p_moment TIMESTAMPTZ) RETURNS TIMESTAMPTZ
LANGUAGE sql STABLE AS $$
    SELECT (date_trunc(p_window->>'reset',
                       (p_moment AT TIME ZONE (p_window->>'zone')) - (p_window->>'at')::interval)
            + (p_window->>'at')::interval) AT TIME ZONE (p_window->>'zone')
$$;

CREATE FUNCTION quota_window_end(p_window JSONB, p_moment TIMESTAMPTZ) RETURNS TIMESTAMPTZ
LANGUAGE sql STABLE AS $$
    SELECT (date_trunc(p_window->>'reset',
                       (p_moment AT TIME ZONE (p_window->>'zone')) - (p_window->>'at')::interval)
            + ('1 ' || (p_window->>'reset'))::interval
            + (p_window->>'at')::interval) AT TIME ZONE (p_window->>'zone')
$$;

-- During an upgrade, processes of the earlier release still use the function with these parameters.
-- It computes calendar windows by the clock of the client, so it grants no further call. A wait of
-- ten minutes defers their runs, and the new release continues them.
CREATE OR REPLACE FUNCTION grant_calls(
    p_provider TEXT, p_keys TEXT[], p_windows JSONB, p_wanted INTEGER, p_job TEXT,
    p_reserve DOUBLE PRECISION DEFAULT 0, p_moment TIMESTAMPTZ DEFAULT NULL,
    OUT granted_key TEXT, OUT granted INTEGER, OUT wait_until TIMESTAMPTZ, OUT blocked_by TEXT
) LANGUAGE sql VOLATILE AS $$
    SELECT NULL::text, 0, clock_timestamp() + interval '10 minutes',
        'a newer release counts the calls'
$$;

-- Grant up to `p_wanted` calls to one of `p_keys`, the least recently used key first.
--
-- `p_windows` is a JSON array of {name, limit, period_s} for sliding windows and {name, limit,
-- reset, zone, at} for calendar windows. `p_reserve` is the part of the calendar windows that stays
-- for others. A granted call arrives within `p_arrival_s`. `p_clock_s` is the largest difference
-- between the clocks of the database and the provider. Granting and counting are one transaction
-- under a lock of the provider, so all clusters of a database share one budget.
--
-- Returns one row: the key, the number of calls and their ids; or no key, the time at which to
-- request again, and the seconds until then. `p_moment` replaces the database's clock in tests.
--
-- Why no sliding window of the provider can hold more than `limit` calls: take any calls that
-- arrive within one period, and among them the call that was granted last, at g. It arrived at g or
-- later, so all the others arrived after g - period; their `arrives_by` is not earlier than their
-- arrival. At g, the condition `arrives_by > g - period` therefore counted all of them. The proof
-- needs no bound on latencies, and no agreement between the clocks.
--
-- A calendar window ends by the provider's clock. So a call counts in the window of each time
-- between g - clock and g + arrival + clock, which is two windows around a reset.
CREATE FUNCTION grant_calls(
    p_provider TEXT, p_keys TEXT[], p_windows JSONB, p_wanted INTEGER, p_job TEXT,
    p_reserve DOUBLE PRECISION, p_arrival_s DOUBLE PRECISION, p_clock_s DOUBLE PRECISION,
    p_moment TIMESTAMPTZ DEFAULT NULL,
    OUT granted_key TEXT, OUT granted_ids BIGINT[], OUT wait_until TIMESTAMPTZ,
    OUT wait_s DOUBLE PRECISION, OUT blocked_by TEXT
) LANGUAGE plpgsql AS $$
DECLARE
    arrival CONSTANT INTERVAL := make_interval(secs => p_arrival_s);
    clock CONSTANT INTERVAL := make_interval(secs => p_clock_s);
    poll CONSTANT INTERVAL := interval '50 milliseconds';
    restored CONSTANT TEXT := ': the calls between the backup and its restore are unknown';
    unknown_until TIMESTAMPTZ;
    cause TEXT;
    candidate RECORD;
    win JSONB;
    moment TIMESTAMPTZ;
    period INTERVAL;
    begin_at TIMESTAMPTZ;
    room INTEGER;
    used BIGINT;
    cap INTEGER;
    free_at TIMESTAMPTZ;
    key_free_at TIMESTAMPTZ;
    key_blocked TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('quota'), hashtext(p_provider));
    INSERT INTO quota_keys (provider, key) SELECT p_provider, unnest(p_keys) ON CONFLICT DO NOTHING;
    -- A call that was made shortly before the restore may still arrive after it.
    SELECT coalesce(max(restored_at) + arrival, '-infinity') INTO unknown_until FROM quota_restores;
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
                period := make_interval(secs => (win->>'period_s')::float8);
                cap := (win->>'limit')::integer;
                SELECT coalesce(sum(calls), 0) INTO used FROM quota_grants
                WHERE provider = p_provider AND key = candidate.key
                  AND coalesce(arrives_by, granted_at) > moment - period;
                cause := '';
                IF unknown_until > moment - period THEN
                    cause := restored;
                    used := greatest(used, cap);
                    free_at := unknown_until + period;
                ELSIF used >= cap THEN
                    -- The window has room when enough of its calls have left it. The answer to a
                    -- call in flight may come at any moment, so the caller requests again soon
                    -- instead of waiting for the timeout of that call.
                    SELECT g.leaves_at INTO free_at FROM (
                        SELECT leaves_at, sum(calls) OVER (ORDER BY leaves_at, id) AS gone FROM (
                            SELECT id, calls, period
                                + least(coalesce(arrives_by, granted_at), moment + poll) AS leaves_at
                            FROM quota_grants
                            WHERE provider = p_provider AND key = candidate.key
                              AND coalesce(arrives_by, granted_at) > moment - period
                        ) AS counted
                    ) AS g
                    WHERE g.gone > used - cap ORDER BY g.gone LIMIT 1;
                END IF;
                room := least(room, greatest(cap - used, 0));
                IF used >= cap AND (key_free_at IS NULL OR free_at > key_free_at) THEN
                    key_free_at := free_at;
                    key_blocked := (win->>'name') || cause;
                END IF;
            ELSE
                cap := floor((win->>'limit')::integer * (1 - p_reserve));
                FOR begin_at IN
                    SELECT DISTINCT quota_window_start(win, limits.at)
                    FROM unnest(ARRAY[moment - clock, moment + arrival + clock]) AS limits (at)
                LOOP
                    SELECT coalesce(sum(calls), 0) INTO used FROM quota_counters
                    WHERE provider = p_provider AND key = candidate.key
                      AND "window" = win->>'name' AND start_at = begin_at;
                    cause := '';
                    IF unknown_until + clock > begin_at THEN
                        cause := restored;
                        used := greatest(used, cap);
                    END IF;
                    room := least(room, greatest(cap - used, 0));
                    free_at := quota_window_end(win, begin_at) + clock;
                    IF used >= cap AND (key_free_at IS NULL OR free_at > key_free_at) THEN
                        key_free_at := free_at;
                        key_blocked := (win->>'name') || cause;
                    END IF;
                END LOOP;
            END IF;
        END LOOP;
        IF room > 0 THEN
            granted_key := candidate.key;
            wait_until := NULL;
            wait_s := NULL;
            blocked_by := NULL;
            -- One row a call: each of them is answered at its own time.
            WITH added AS (
                INSERT INTO quota_grants (provider, key, granted_at, arrives_by, calls, job)
                SELECT p_provider, candidate.key, moment, moment + arrival, 1, p_job
                FROM generate_series(1, room)
                RETURNING id
            )
            SELECT array_agg(id ORDER BY id) INTO granted_ids FROM added;
            UPDATE quota_keys SET last_grant_at = moment
            WHERE provider = p_provider AND key = candidate.key;
            INSERT INTO quota_counters (provider, key, "window", start_at, calls)
            SELECT DISTINCT p_provider, candidate.key, w->>'name', quota_window_start(w, limits.at),
                room
            FROM jsonb_array_elements(p_windows) AS w,
                unnest(ARRAY[moment - clock, moment + arrival + clock]) AS limits (at)
            WHERE w ? 'reset'
            ON CONFLICT (provider, key, "window", start_at)
            DO UPDATE SET calls = quota_counters.calls + excluded.calls;
            RETURN;
        END IF;
        -- The key is blocked for longer than its quota requires, so an operator has to see the cause.
        IF candidate.last_grant_at > coalesce(p_moment, clock_timestamp()) + interval '1 minute' THEN
            key_blocked := key_blocked || ': the clock of Postgres is behind the last call of the key';
        END IF;
        IF wait_until IS NULL OR key_free_at < wait_until THEN
            wait_until := key_free_at;
            blocked_by := key_blocked;
        END IF;
    END LOOP;
    wait_s := extract(epoch FROM wait_until - coalesce(p_moment, clock_timestamp()));
END $$;

-- Record that calls have been answered: they have arrived, and leave their sliding windows sooner.
-- An answer that is not recorded costs time, never an excess call. So its commit need not be
-- durable.
CREATE FUNCTION finish_calls(p_ids BIGINT[], p_moment TIMESTAMPTZ DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE quota_grants
    SET arrives_by = least(arrives_by, greatest(granted_at, coalesce(p_moment, clock_timestamp())))
    WHERE id = ANY (p_ids);
END $$;
