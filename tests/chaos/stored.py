"""Read the facts of a finished run from Postgres and Redis, past every link."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

import psycopg
import redis

from ray_pipeline.feeds.feed_registry import feed_named
from tests.chaos import slots
from tests.chaos.slots import SlotRun
from tests.chaos.venue import LEAST_PRICE
from tests.chaos.verify import GapWindow, Receipt, StoredFacts

KEY = "{symbol} || ' ' || trim_scale({price}) || ' ' || trim_scale({volume}) || ' ' || {event}"
ROWS = f"COPY (SELECT {KEY} FROM {{table}} WHERE {{price}} >= {LEAST_PRICE}) TO STDOUT"
RECEIVED = f"""
    SELECT {KEY}, extract(epoch FROM created_at AT TIME ZONE 'UTC')::float8, pod_index, epoch, seq
    FROM {{table}} WHERE {{price}} = ANY(%s) ORDER BY epoch, seq
"""
GAPS = """
    SELECT id, shard, epoch, kind, from_at, to_at, recorded_at, symbols, first_seq, last_seq, cause
    FROM gaps WHERE feed = %s ORDER BY id
"""
SEEN = "SELECT shard, epoch, seen::text FROM stream_sequences WHERE feed = %s"
NEWEST = """
    SELECT {symbol}, {event}, array_agg(trim_scale({price})::text) FROM {table}
    JOIN (SELECT {symbol}, max({event}) AS {event} FROM {table} GROUP BY {symbol}) AS newest
      USING ({symbol}, {event})
    GROUP BY {symbol}, {event}
"""
# The names of symbol, price, volume and time: in records, in a venue's frames.
NAMES = (
    ("symbol", "price", "volume", "timestamp_ms"),
    ("s", "p", "v", "t"),
    ("market", "trade_price", "trade_volume", "timestamp_field"),
    ("market", "trade_price", "trade_volume", "timestamp_ms"),
    ("code", "trade_price", "trade_volume", "timestamp"),
)

RealTime = Callable[[int, float], float]
"""Returns the real time of a moment that the producer of a shard wrote."""


def statement(template: str, feed: str) -> bytes:
    """Return a query with the names of a feed's table and columns."""
    layout = feed_named(feed).layout
    return template.format(
        table=feed_named(feed).table,
        symbol=layout.symbol_column,
        price=layout.price_column,
        volume=layout.volume_column,
        event=layout.event_column,
    ).encode()


def read_facts(dsn: str, feed: str, real_time: RealTime) -> StoredFacts:
    """Return what Postgres holds of a feed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows: Counter[str] = Counter()
        with connection.cursor().copy(statement(ROWS, feed)) as copy:
            for line in _lines(copy):
                rows[line] += 1
        parked = Counter(_parked(connection, feed))
        gaps = [_gap(row, real_time) for row in connection.execute(GAPS, (feed,)).fetchall()]
        arrived = {
            (shard, epoch): list(_ranges(seen))
            for shard, epoch, seen in connection.execute(SEEN, (feed,)).fetchall()
        }
    return StoredFacts(rows, parked, gaps, arrived)


def slot_runs(dsn: str) -> list[SlotRun]:
    """Return the runs that the schedulers claimed, by job and slot."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [SlotRun(*row) for row in connection.execute(slots.RUNS).fetchall()]


def successes(dsn: str) -> Mapping[tuple[str, datetime], int]:
    """Return how often each slot was stored as successful."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(slots.SUCCESSES).fetchall()
    return {(job, slot): count for job, slot, count in rows}


def _lines(copy: psycopg.Copy) -> Iterator[str]:
    rest = b""
    for block in copy:
        *lines, rest = (rest + bytes(block)).split(b"\n")
        for line in lines:
            yield line.decode()
    if rest:
        yield rest.decode()


def _parked(connection: psycopg.Connection, feed: str) -> Iterator[str]:
    """Yield the trades in dead letters: values of Kafka, or the venue's own format."""
    query = "SELECT payload FROM dead_letters WHERE feed = %s"
    for (payload,) in connection.execute(query, (feed,)):
        try:
            fields = json.loads(payload, parse_float=str, parse_int=str)
        except ValueError:
            continue
        fields = json.loads(fields["payload"], parse_float=str, parse_int=str) if (
            isinstance(fields, dict) and isinstance(fields.get("payload"), str)
            and fields["payload"].startswith("{")
        ) else fields  # fmt: skip
        if key := _key_of(fields):
            yield key


def _key_of(fields: object) -> str:
    if not isinstance(fields, dict):
        return ""
    for names in NAMES:
        if all(isinstance(fields.get(name), str) for name in names):
            symbol, price, volume, at_ms = (str(fields[name]) for name in names)
            return f"{symbol} {_trim(price)} {_trim(volume)} {at_ms}"
    return ""


def _trim(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _gap(row: tuple, real_time: RealTime) -> GapWindow:
    number, shard, epoch, kind, from_at, to_at, recorded_at, symbols, first, last, cause = row
    to_s = real_time(shard, (to_at or recorded_at).timestamp())
    from_s = real_time(shard, from_at.timestamp()) if from_at else to_s
    numbers = f", numbers {first}..{last}" if first is not None else ""
    return GapWindow(
        id=number,
        shard=shard,
        epoch=epoch,
        kind=kind,
        from_s=from_s,
        to_s=to_s,
        symbols=None if symbols is None else frozenset(symbols),
        first_seq=first,
        last_seq=last,
        text=(
            f"{number} ({kind}, shard {shard}, epoch {epoch}, {from_at} to {to_at}{numbers}: "
            f"{cause})"
        ),
    )


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for run in text.strip("{}").replace("[", "").split(")"):
        if pair := run.strip(","):
            start, end = pair.split(",")
            yield int(start), int(end)


def receipts(
    dsn: str, feed: str, keys: Iterable[str], real_time: RealTime
) -> Mapping[str, Receipt]:
    """Return when stored trades of a feed were received, and their numbers, by their key."""
    wanted_keys = set(keys)
    prices = [Decimal(key.split(" ")[1]) for key in wanted_keys]
    with psycopg.connect(dsn, autocommit=True) as connection:
        # In the order of their numbers: of two equal trades, the later one is the predecessor.
        rows = connection.execute(statement(RECEIVED, feed), (prices,)).fetchall()
    return {
        key: Receipt(real_time(shard, written_s), epoch, seq)
        for key, written_s, shard, epoch, seq in rows
        if key in wanted_keys
    }


def differences_in_redis(dsn: str, url: str, feed: str) -> list[str]:
    """Return how the latest values of a feed differ from its newest rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        newest = connection.execute(statement(NEWEST, feed)).fetchall()
    prefix = f"latest:{feed_named(feed).redis.prefix}:"
    with redis.Redis.from_url(url) as client:
        values = client.mget([prefix + symbol for symbol, _, _ in newest]) if newest else []
    differences = []
    for (symbol, at_ms, prices), value in zip(newest, values, strict=True):
        latest = json.loads(value, parse_float=str, parse_int=str) if value else {}
        if (
            int(latest.get("timestamp", 0)) != at_ms
            or _trim(str(latest.get("price"))) not in prices
        ):
            differences.append(f"Redis has {value!r} of {symbol}; the newest row: {at_ms} {prices}")
    return differences
