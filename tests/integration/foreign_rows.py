"""Rows that no part of the pipeline writes: their times are outside of Python's calendar."""

import psycopg

TIMES = ("4713-01-01 BC", "0001-01-01 BC", "-infinity", "infinity", "294276-01-01")
HISTORY = {
    "sp500_websocket_trades": ("symbol, price, timestamp_ms", "'AAPL', 1, {ms}"),
    "finnhub_trades": ("symbol, price, timestamp_ms", "'AAPL', 1, {ms}"),
    "bithumb_ticker": ("market, trade_price, timestamp_field", "'KRW-BTC', 1, {ms}"),
}
# By table: columns, and their values; {t} is the time and {n} its number.
ROWS = (
    ("gaps", "feed, shard, epoch, seq, kind, cause, from_at, to_at, recorded_at",
     "'sp500', 0, 1, {n}, 'stalled', 'x', '{t}', '{t}', '{t}'"),
    ("dead_letters", 'feed, topic, partition, "offset", payload, reason, parked_at, resolved_at',
     "'sp500', 't', 0, {n}, 'x', 'r', '{t}', '{t}'"),
    ("bars", "feed, symbol, interval_s, start_at, open, high, low, close, volume, trades, open_ms, "
     "close_ms", "'sp500', 'AAPL', 60, '{t}', 1, 1, 1, 1, 1, 1, 0, 0"),
    ("producer_epochs", "feed, shard, epoch, holder, last_data_at, heartbeat_at, stopped_at",
     "'sp500', {n}, 1, 'x', '{t}', '{t}', '{t}'"),
    ("stream_sequences", "feed, shard, epoch, last_received_at, last_event_at",
     "'sp500', {n}, 1, '{t}', '{t}'"),
    ("consumer_state", "topic, partition, holder, state, heartbeat_at",
     "'sp500-websocket-trades', {n}, 'x', 'storing', '{t}'"),
    ("job_runs", "job, slot, state, claimed_at, started_at, heartbeat_at, finished_at, not_before",
     "'{job}', '{t}', '{state}', '{t}', '{t}', '{t}', '{t}', '{t}'"),
    ("quota_grants", "provider, key, granted_at, calls", "'alpha_vantage', '{key}', '{t}', 1"),
    ("findings", 'job, slot, "table", "check", detail, found_at',
     "'cpi', '{t}', 'cpi', 'c', 'd', '{t}'"),
)  # fmt: skip
JOBS = ("cpi", "company_news", "financials", "market_news", "treasury_yield")
STATES = ("succeeded", "failed", "deferred", "running", "nothing_new")


def plant(dsn: str, *, key: str = "") -> None:
    """
    Write rows with every one of TIMES into every table that a reader shows.

    Args:
        dsn: The database.
        key: The fingerprint of the key whose grants are planted.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in ("bars", *HISTORY):
            connection.execute(f"CREATE TABLE {table}_others PARTITION OF {table} DEFAULT")
        for number, (time, job, state) in enumerate(zip(TIMES, JOBS, STATES, strict=True)):
            for table, columns, values in ROWS:
                row = values.format(t=time, n=number, job=job, state=state, key=key)
                connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({row})")
            for table, (columns, values) in HISTORY.items():
                for ms in (-(2**63), 2**63 - 1, number):
                    connection.execute(
                        f"INSERT INTO {table} ({columns}, created_at, pod_index, epoch, seq) "
                        f"VALUES ({values.format(ms=ms)}, '{time}', 0, 1, {number})"
                    )
        # The newest record of a feed is of one of these times.
        for feed, time in (("bithumb", TIMES[0]), ("top_gainers", TIMES[-1])):
            connection.execute(
                "INSERT INTO stream_sequences (feed, shard, epoch, last_received_at) "
                f"VALUES ('{feed}', 0, 1, '{time}')"
            )
        connection.execute(
            "INSERT INTO quota_keys (provider, key, rest_until) VALUES (%s, %s, 'infinity')",
            ("alpha_vantage", key),
        )
