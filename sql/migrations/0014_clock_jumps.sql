-- Keep quota windows closed when the clock of the database jumps forward.
--
-- A clock that is set forward by an hour makes every call an hour older than it is. So each machine
-- that requests permits compares the clock with one that is never set: the time since the machine
-- started. A difference that grows by more than 30 s at once is a jump. Whether the clock was wrong
-- before the jump or is wrong after it cannot be known, so calls are counted for both times.

-- `machine` is the boot id of a machine: a restart starts its elapsed time at 0.
CREATE TABLE quota_clocks (
    machine TEXT PRIMARY KEY,
    ahead_s DOUBLE PRECISION NOT NULL,  -- the largest accepted difference between the two clocks
    jump_s DOUBLE PRECISION NOT NULL DEFAULT 0,  -- by which the newest difference exceeds it
    jumped_at TIMESTAMPTZ,  -- when the jump was noticed, by the time before it
    seen_at TIMESTAMPTZ NOT NULL  -- within an hour
);

-- Return by how much the clock is ahead of the elapsed time of a machine; 0 within the bound.
--
-- Small differences are accepted, and they add up: two clocks drift apart by seconds a day. The
-- difference never decreases, so a database that was paused and whose clock is then corrected has
-- not jumped.
CREATE FUNCTION quota_clock_jump(
    p_machine TEXT, p_elapsed_s DOUBLE PRECISION, p_now TIMESTAMPTZ
) RETURNS INTERVAL LANGUAGE plpgsql AS $$
DECLARE
    bound_s CONSTANT DOUBLE PRECISION := 30;
    step_s CONSTANT DOUBLE PRECISION := 1;  -- smaller steps are not worth a write for each call
    difference_s CONSTANT DOUBLE PRECISION := extract(epoch FROM p_now) - p_elapsed_s;
    clock quota_clocks;
BEGIN
    IF p_elapsed_s IS NULL THEN
        RETURN interval '0';
    END IF;
    SELECT * INTO clock FROM quota_clocks WHERE machine = p_machine;
    IF NOT FOUND THEN
        INSERT INTO quota_clocks (machine, ahead_s, seen_at)
        VALUES (p_machine, difference_s, p_now) ON CONFLICT DO NOTHING;
        RETURN interval '0';
    END IF;
    IF difference_s > clock.ahead_s + bound_s THEN
        IF abs(difference_s - clock.ahead_s - clock.jump_s) > step_s THEN
            UPDATE quota_clocks
            SET jump_s = difference_s - ahead_s, seen_at = p_now,
                jumped_at = coalesce(jumped_at, to_timestamp(ahead_s + p_elapsed_s))
            WHERE machine = p_machine;
        END IF;
        RETURN make_interval(secs => difference_s - clock.ahead_s);
    END IF;
    IF clock.jump_s > 0 OR difference_s > clock.ahead_s + step_s
        OR clock.seen_at < p_now - interval '1 hour' THEN
        UPDATE quota_clocks
        SET ahead_s = greatest(ahead_s, difference_s), jump_s = 0, jumped_at = NULL, seen_at = p_now
        WHERE machine = p_machine;
    END IF;
    RETURN interval '0';
END $$;

-- Grant calls as the function of migration 12 does, for a machine with a clock of its own.
--
-- After a jump of the database's clock, sliding windows use the time that has really elapsed: their
-- calls leave them at the pace of the machine's clock. A calendar window ends by the provider's
-- clock, which may be that before the jump or that after it. So a call counts in the window of each
-- time between the earliest and the latest that are possible, and needs room in both.
CREATE FUNCTION grant_calls(
    p_provider TEXT, p_keys TEXT[], p_windows JSONB, p_wanted INTEGER, p_job TEXT,
    p_reserve DOUBLE PRECISION, p_arrival_s DOUBLE PRECISION, p_clock_s DOUBLE PRECISION,
    p_machine TEXT, p_elapsed_s DOUBLE PRECISION, p_moment TIMESTAMPTZ DEFAULT NULL,
    OUT granted_key TEXT, OUT granted_ids BIGINT[], OUT wait_until TIMESTAMPTZ,
    OUT wait_s DOUBLE PRECISION, OUT blocked_by TEXT
) LANGUAGE plpgsql AS $$
DECLARE
    arrival CONSTANT INTERVAL := make_interval(secs => p_arrival_s);
    clock CONSTANT INTERVAL := make_interval(secs => p_clock_s);
    jump CONSTANT INTERVAL := quota_clock_jump(
        p_machine, p_elapsed_s, coalesce(p_moment, clock_timestamp()));
    poll CONSTANT INTERVAL := interval '50 milliseconds';
    restored CONSTANT TEXT := ': the calls between the backup and its restore are unknown';
    unknown_until TIMESTAMPTZ;
    cause TEXT;
    candidate RECORD;
    win JSONB;
    moment TIMESTAMPTZ;
    latest TIMESTAMPTZ;
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
        -- The time is between `moment` and `latest`, which are equal unless the clock jumped. A
        -- clock that was put back must not open a window again.
        latest := greatest(coalesce(p_moment, clock_timestamp()), candidate.last_grant_at);
        moment := CASE WHEN jump = interval '0' THEN latest
                       ELSE coalesce(p_moment, clock_timestamp()) - jump END;
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
                    FROM unnest(ARRAY[moment - clock, latest + arrival + clock]) AS limits (at)
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
            UPDATE quota_keys SET last_grant_at = greatest(last_grant_at, moment)
            WHERE provider = p_provider AND key = candidate.key;
            INSERT INTO quota_counters (provider, key, "window", start_at, calls)
            SELECT DISTINCT p_provider, candidate.key, w->>'name', quota_window_start(w, limits.at),
                room
            FROM jsonb_array_elements(p_windows) AS w,
                unnest(ARRAY[moment - clock, latest + arrival + clock]) AS limits (at)
            WHERE w ? 'reset'
            ON CONFLICT (provider, key, "window", start_at)
            DO UPDATE SET calls = quota_counters.calls + excluded.calls;
            RETURN;
        END IF;
        -- The key is blocked for longer than its quota requires, so an operator has to see the cause.
        IF candidate.last_grant_at > coalesce(p_moment, clock_timestamp()) + interval '1 minute' THEN
            key_blocked := key_blocked || ': the clock of Postgres is behind the last call of the key';
        END IF;
        IF jump > interval '0' THEN
            key_blocked := format('%s: the clock of Postgres jumped forward by %s s', key_blocked,
                                  round(extract(epoch FROM jump)));
        END IF;
        IF wait_until IS NULL OR key_free_at < wait_until THEN
            wait_until := key_free_at;
            blocked_by := key_blocked;
        END IF;
    END LOOP;
    -- The caller compares the time with the clock of Postgres.
    wait_until := wait_until + jump;
    wait_s := extract(epoch FROM wait_until - coalesce(p_moment, clock_timestamp()));
END $$;

-- Processes of the earlier release do not send their elapsed time.
CREATE OR REPLACE FUNCTION grant_calls(
    p_provider TEXT, p_keys TEXT[], p_windows JSONB, p_wanted INTEGER, p_job TEXT,
    p_reserve DOUBLE PRECISION, p_arrival_s DOUBLE PRECISION, p_clock_s DOUBLE PRECISION,
    p_moment TIMESTAMPTZ DEFAULT NULL,
    OUT granted_key TEXT, OUT granted_ids BIGINT[], OUT wait_until TIMESTAMPTZ,
    OUT wait_s DOUBLE PRECISION, OUT blocked_by TEXT
) LANGUAGE sql AS $$
    SELECT * FROM grant_calls(p_provider, p_keys, p_windows, p_wanted, p_job, p_reserve,
                              p_arrival_s, p_clock_s, NULL, NULL, p_moment)
$$;

-- Record that calls have been answered, as the function of migration 12 does.
CREATE FUNCTION finish_calls(
    p_ids BIGINT[], p_machine TEXT, p_elapsed_s DOUBLE PRECISION,
    p_moment TIMESTAMPTZ DEFAULT NULL
) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    moment CONSTANT TIMESTAMPTZ := coalesce(p_moment, clock_timestamp());
BEGIN
    PERFORM finish_calls(p_ids, moment - quota_clock_jump(p_machine, p_elapsed_s, moment));
END $$;

-- Begin the cooldown of a key, and return its end: after `p_pause_s`, at the end of a calendar
-- window, or in the year 9999 without either. The clock of a client may be wrong.
CREATE FUNCTION rest_key(
    p_provider TEXT, p_key TEXT, p_pause_s DOUBLE PRECISION, p_window JSONB, p_reason TEXT,
    p_machine TEXT, p_elapsed_s DOUBLE PRECISION
) RETURNS TIMESTAMPTZ LANGUAGE plpgsql AS $$
DECLARE
    jump CONSTANT INTERVAL := quota_clock_jump(p_machine, p_elapsed_s, clock_timestamp());
    moment CONSTANT TIMESTAMPTZ := clock_timestamp() - jump;
    end_at TIMESTAMPTZ := coalesce(
        moment + make_interval(secs => p_pause_s), quota_window_end(p_window, moment), '9999-12-31');
BEGIN
    INSERT INTO quota_keys AS stored (provider, key, rest_until, rest_reason)
    VALUES (p_provider, p_key, end_at, p_reason)
    ON CONFLICT (provider, key) DO UPDATE
    -- The longer of two cooldowns stays, with its reason.
    SET rest_until = greatest(stored.rest_until, excluded.rest_until),
        rest_reason = CASE WHEN stored.rest_until > excluded.rest_until THEN stored.rest_reason
                           ELSE excluded.rest_reason END
    RETURNING rest_until INTO end_at;
    RETURN end_at + jump;
END $$;
