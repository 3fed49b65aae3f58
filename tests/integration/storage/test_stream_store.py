"""Whatever a topic holds is stored, repeated or parked; a fault of the database parks nothing."""

import json
import time

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.feeds.records import Gap, Reject
from ray_pipeline.storage.postgres.stream_store import StreamStore
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.batch_builder import BatchBuilder
from tests.streams import rows, trades
from tests.unit.stream.test_batch_builder import feed_value

TOPIC = "test"
EPOCH = 1


class Pipeline:
    """From a topic's bytes to Postgres, for partition 0 of one feed."""

    def __init__(self, dsn: str, name: str = "sp500") -> None:
        self.dsn = dsn
        self.feed = feed_named(name)
        self.store = StreamStore(dsn, self.feed, self.feed.layout, topic=f"{TOPIC}-{name}")
        self.builder = BatchBuilder(
            self.feed.layout, future_tolerance_ms=300_000, arrivals={}, newest={}
        )
        self.offset = 0

    async def open(self) -> "Pipeline":
        await self.store.claim(0, EPOCH)
        await self.store.rewind(0, EPOCH, 0)
        return self

    def batch(self, *values: bytes, key: bytes | None = b"K"):
        """The batch of values that follow those of the last one."""
        batch = self.builder.begin()
        messages = [
            Message(0, self.offset + index, int(time.time() * 1000), key, value)
            for index, value in enumerate(values)
        ]
        self.builder.extend(batch, messages, now_ms=int(time.time() * 1000))
        self.offset += len(values)
        return self.builder.finish(batch)

    async def put(self, *values: bytes) -> None:
        await self.store.put(self.batch(*values), {0: EPOCH})

    def counts(self) -> tuple[int, int, int, int]:
        """Rows, gaps, dead letters, repeats."""
        topic = f"{TOPIC}-{self.feed.name}"
        ((redelivered,),) = rows(
            self.dsn, "SELECT redelivered FROM stream_offsets WHERE topic = %s", topic
        )
        return (
            rows(self.dsn, f"SELECT count(*) FROM {self.feed.table}")[0][0],
            rows(self.dsn, "SELECT count(*) FROM gaps WHERE feed = %s", self.feed.name)[0][0],
            rows(self.dsn, "SELECT count(*) FROM dead_letters WHERE topic = %s", topic)[0][0],
            redelivered,
        )


@pytest.fixture
async def pipeline(postgres_dsn):
    """A pipeline of sp500."""
    created = await Pipeline(postgres_dsn).open()
    yield created
    await created.store.close()


def trade_values(*seqs: int, **changes) -> list[bytes]:
    return [codec.encode(trades(1, shards=1, start=seq, **changes)[0]) for seq in seqs]


def with_field(value: bytes, name: str, text: str) -> bytes:
    """Return a value with a field that need not be valid; the last of two equal fields counts."""
    return value[:-1] + f',"{name}":{text}}}'.encode()


def gap_value(seq: int, **changes) -> bytes:
    fields = {"epoch": 1, "seq": seq, "pod_index": 1, "gap_kind": "stalled", "cause": "silence"}
    return codec.encode(Gap(**{**fields, **changes}))


def reject_value(seq: int, **changes) -> bytes:
    fields = {
        "epoch": 1, "seq": seq, "pod_index": 1, "reason": "not_json", "detail": "bad",
        "payload": "{", "size_bytes": 1,
    }  # fmt: skip
    return codec.encode(Reject(**{**fields, **changes}))


# Bad records -----------------------------------------------------------------------------------

LONG = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(9_000))  # it compresses badly


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (gap_value(2, cause="closed\x00 by venue"), (2, 1, 0)),
        (gap_value(2, gap_kind="st\x00alled", symbols=["A\x00", "B"]), (2, 1, 0)),
        (reject_value(2, reason="not\x00_json", detail="\x00", payload="\x00"), (2, 0, 1)),
        (trade_values(2, symbol=LONG)[0], (2, 0, 1)),
        (trade_values(2, symbol="A\x00B")[0], (2, 0, 1)),
        (b'{"symbol":' + b"[" * 2_000 + b"]" * 2_000 + b"}", (2, 0, 1)),
        (gap_value(2, cause="CAUSE").replace(b"CAUSE", b"\xff\xfe"), (2, 0, 1)),
        (gap_value(2, cause="x" * 900_000), (2, 1, 0)),
        (gap_value(2**62), (2, 0, 1)),
        (gap_value(2, epoch=2**64), (2, 0, 1)),
        (with_field(trade_values(2)[0], "price", "1e-99999999999999999999"), (2, 0, 1)),
        (with_field(trade_values(2)[0], "price", "0." + "1" * 20_000), (2, 0, 1)),
        (with_field(trade_values(2)[0], "timestamp_ms", "9" * 20), (2, 0, 1)),
    ],
    ids=[
        "nul in a cause", "nul in a kind", "nul in a reject", "long symbol", "nul in a symbol",
        "deep", "not utf-8", "giant cause", "giant number", "giant epoch", "giant exponent",
        "many digits", "giant time",
    ],
)  # fmt: skip
async def test_a_bad_record_does_not_hold_up_its_neighbours(pipeline, bad, expected):
    """It is stored as far as it can be, or parked; the records around it are stored."""
    first, last = trade_values(1, 3)

    await pipeline.put(first, bad, last)
    await pipeline.put(*trade_values(4))

    stored, gaps, parked, _ = pipeline.counts()
    assert (stored - 1, gaps, parked) == expected
    if parked and b'"kind":"reject"' not in bad:
        payloads = rows(pipeline.dsn, "SELECT payload FROM dead_letters")
        assert payloads == [(bad,)]


async def test_a_notice_that_postgres_refuses_is_parked_with_its_bytes(pipeline):
    """A constraint of the operator, for example."""
    with psycopg.connect(pipeline.dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE gaps ADD CHECK (kind <> 'strange')")

    await pipeline.put(gap_value(1), gap_value(2, gap_kind="strange"), gap_value(3))

    assert pipeline.counts() == (0, 2, 1, 0)
    assert rows(pipeline.dsn, "SELECT reason, seq, payload FROM dead_letters") == [
        ("refused_23514", 2, gap_value(2, gap_kind="strange"))
    ]
    assert rows(pipeline.dsn, "SELECT notices, parked FROM stream_sequences") == [(2, 1)]


async def test_a_dead_letter_that_postgres_refuses_is_parked_with_its_bytes_alone(pipeline):
    with psycopg.connect(pipeline.dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE dead_letters ADD CHECK (detail NOT LIKE '%strange%')")

    await pipeline.put(reject_value(1), reject_value(2, detail="strange"), *trade_values(3))

    assert pipeline.counts() == (1, 0, 2, 0)
    assert rows(pipeline.dsn, "SELECT reason FROM dead_letters ORDER BY id") == [
        ("not_json",), ("refused_23514",)
    ]  # fmt: skip


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("code", ["P0001", "42501", "22012", "54000", "XX000"])
async def test_a_row_that_fails_alone_is_parked_whatever_the_code(pipeline, code, deferred):
    """Its neighbours, and a plain row, are accepted by the same table."""
    with psycopg.connect(pipeline.dsn, autocommit=True) as connection:
        add_trigger(connection, code=code, condition="NEW.symbol = 'BAD'", deferred=deferred)

    await pipeline.put(*trade_values(1), *trade_values(2, symbol="BAD"), *trade_values(3))
    await pipeline.put(*trade_values(4, symbol="BAD"))

    assert pipeline.counts() == (2, 0, 2, 0)
    assert rows(pipeline.dsn, "SELECT reason, seq FROM dead_letters ORDER BY seq") == [
        (f"refused_{code}", 2), (f"refused_{code}", 4)
    ]  # fmt: skip
    assert rows(pipeline.dsn, "SELECT stored, parked FROM stream_sequences") == [(2, 2)]
    assert rows(pipeline.dsn, "SELECT sum(trades) FROM bars WHERE interval_s = 1") == [(2,)]
    assert rows(pipeline.dsn, "SELECT 'BAD' = ANY(symbols) FROM shard_statistics") == [(False,)]


async def test_an_error_that_only_this_process_sees_parks_the_row(pipeline, monkeypatch):
    """A value that cannot be prepared is not sent to Postgres at all."""
    batch = pipeline.batch(*trade_values(1, 2, 3))
    batch.rows[1].line = "\ud800"

    await pipeline.store.put(batch, {0: EPOCH})

    assert pipeline.counts() == (2, 0, 1, 0)
    assert rows(pipeline.dsn, "SELECT reason FROM dead_letters") == [
        ("refused_UnicodeEncodeError",)
    ]


# Faults of the database ------------------------------------------------------------------------


def add_trigger(connection, *, code, condition="TRUE", deferred="", table="sp500_websocket_trades"):
    """Let a table refuse rows with a code."""
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF; "
        "RETURN NEW; END $$"
    )
    kind = (
        f"CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} {deferred}"
        if deferred
        else (f"TRIGGER refuse BEFORE INSERT ON {table}")
    )
    connection.execute(f"CREATE {kind} FOR EACH ROW EXECUTE FUNCTION refuse()")


FAULTS = {
    "missing table": (
        "ALTER TABLE {table} RENAME TO hidden", "ALTER TABLE hidden RENAME TO {table}", "migrate"
    ),
    "missing column": (
        "ALTER TABLE sp500_websocket_trades RENAME source TO hidden",
        "ALTER TABLE sp500_websocket_trades RENAME hidden TO source", "migrate",
    ),
    "missing column of gaps": (
        "ALTER TABLE gaps RENAME cause TO hidden", "ALTER TABLE gaps RENAME hidden TO cause",
        "migrate",
    ),
    "read-only": (
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
        "ALTER DATABASE {database} RESET default_transaction_read_only",
        "default_transaction_read_only",
    ),
    "full disk": ("53100", None, "disk"),
    "failing trigger": ("P0001", None, "trigger"),
    "failing trigger with a code of bad data": ("22012", None, ""),
    "no partition": (
        "ALTER TABLE sp500_websocket_trades ADD CHECK (seq < 0) NOT VALID",
        "ALTER TABLE sp500_websocket_trades DROP CONSTRAINT sp500_websocket_trades_seq_check", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("before", [True, False], ids=["after a batch", "at the first batch"])
async def test_a_fault_of_the_database_parks_nothing(pipeline, fault, before):
    """The batch is stored once a person has repaired the fault; its cause and fix are named."""
    begin, end, fix = FAULTS[fault]
    stored = len(await put_one(pipeline)) if before else 0
    batch = pipeline.batch(*trade_values(11, 12), gap_value(13), b"{")
    names = {"table": "sp500_websocket_trades", "database": psycopg.conninfo.conninfo_to_dict(
        pipeline.dsn)["dbname"]}  # fmt: skip
    with psycopg.connect(pipeline.dsn, autocommit=True) as connection:
        if end is None:
            add_trigger(connection, code=begin)
        else:
            connection.execute(begin.format(**names))
        await pipeline.store.close()
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable) as raised:
                await pipeline.store.put(batch, {0: EPOCH})
            assert fix in raised.value.fix
        assert rows(pipeline.dsn, "SELECT count(*) FROM dead_letters") == [(0,)]
        connection.execute("SET default_transaction_read_only = off")
        connection.execute((end or "DROP TRIGGER refuse ON sp500_websocket_trades").format(**names))
        await pipeline.store.close()

    await pipeline.store.put(batch, {0: EPOCH})

    assert pipeline.counts() == (stored + 2, 1, 1, 0)


async def put_one(pipeline) -> list[bytes]:
    values = trade_values(1)
    await pipeline.put(*values)
    return values


async def test_missing_rights_park_nothing(pipeline, postgres_dsn):
    """The role gets them back, and everything is stored."""
    database = psycopg.conninfo.conninfo_to_dict(postgres_dsn)["dbname"]
    role = f"role_{database}"
    tables = "ALL TABLES IN SCHEMA public TO"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        connection.execute(f"GRANT ALL ON {tables} {role}")
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        connection.execute(f"GRANT ALL ON DATABASE {database} TO {role}")
        dsn = psycopg.conninfo.make_conninfo(postgres_dsn, user=role, password="x")
        limited = await Pipeline(dsn).open()
        await limited.put(*trade_values(1))
        connection.execute(f"REVOKE INSERT ON sp500_websocket_trades FROM {role}")
        batch = limited.batch(*trade_values(2, 3))
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match="42501") as raised:
                await limited.store.put(batch, {0: EPOCH})
        assert "rights" in raised.value.fix
        connection.execute(f"GRANT INSERT ON sp500_websocket_trades TO {role}")

        await limited.store.put(batch, {0: EPOCH})

        assert limited.counts() == (3, 0, 0, 0)
        await limited.store.close()
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_dropped_partition_is_made_again(pipeline):
    """Retention dropped the month, while its records still waited in Kafka."""
    (created,) = trades(1, shards=1)
    await pipeline.put(codec.encode(created))
    with psycopg.connect(pipeline.dsn, autocommit=True) as connection:
        connection.execute(f"DROP TABLE sp500_websocket_trades_{created.created_at:%Y%m}")

    await pipeline.put(*trade_values(2, 3))

    assert pipeline.counts() == (2, 0, 0, 0)


async def test_a_lock_is_waited_out(pipeline):
    """lock_timeout is an outage."""
    batch = pipeline.batch(*trade_values(1, 2))
    dsn = psycopg.conninfo.make_conninfo(pipeline.dsn)
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} SET lock_timeout = 100")
        await pipeline.store.close()
        with connection.transaction():
            connection.execute("LOCK TABLE sp500_websocket_trades IN SHARE MODE")
            with pytest.raises(DatabaseUnavailable, match="55P03"):
                await pipeline.store.put(batch, {0: EPOCH})

    await pipeline.store.put(batch, {0: EPOCH})

    assert pipeline.counts() == (2, 0, 0, 0)


async def test_an_outage_during_the_isolation_parks_a_row_once(pipeline, monkeypatch):
    """What the rolled back transaction had parked must not be parked again."""
    batch = pipeline.batch(*trade_values(1), *trade_values(2, symbol=LONG), *trade_values(3))
    writer = pipeline.store._writer
    real = writer.write_accepted

    async def interrupted(connection, part):
        await real(connection, part)
        monkeypatch.setattr(writer, "write_accepted", real)
        await connection.close()
        raise psycopg.OperationalError("the server went away")

    monkeypatch.setattr(writer, "write_accepted", interrupted)
    with pytest.raises(DatabaseUnavailable):
        await pipeline.store.put(batch, {0: EPOCH})
    assert (len(batch.rows), len(batch.parked)) == (3, 0)

    await pipeline.store.put(batch, {0: EPOCH})

    assert pipeline.counts() == (2, 0, 1, 0)
    assert (len(batch.rows), len(batch.parked)) == (2, 1)
    assert rows(pipeline.dsn, "SELECT stored, parked FROM stream_sequences") == [(2, 1)]


# Anything --------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["A", "A\x00B", "\x00", "-", "\\N", "a\tb\n", LONG, "x" * 300_000, ""]),
)
NUMBERS = st.sampled_from(
    ["0", "-1", "1.5", "1e400", "-1e-400", "1e99999999999999999999", '"NaN"', '"Infinity"',
     '"sNaN"', "9" * 400, "0." + "1" * 20_000, "null", "true", '"x"', "[]", "{}", "1" * 5_000]
)  # fmt: skip
INTEGERS = st.one_of(
    st.integers(1, 8),
    st.sampled_from([0, -1, 2**31, -(2**31), 2**62, 2**63, 2**64, 2**70, -(2**70), 10**4000]),
).map(str)
TIMES = st.sampled_from(
    ['"0001-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"',
     '"2026-11-30T00:00:00"', '"2026-11-30T00:00:00Z"', '"x"', "1", "null", "[]"]
)  # fmt: skip
ANY_JSON = st.one_of(
    TEXTS.map(json.dumps), NUMBERS, INTEGERS, TIMES, st.just("[" * 2_000 + "]" * 2_000),
    st.just('"\\ud800"'), st.just('["\\udfff", "\\u0000"]'), st.just('["a", 1]'),
)  # fmt: skip
FIELDS = (
    "seq", "epoch", "pod_index", "created_at", "symbol", "market", "price", "trade_price", "volume",
    "timestamp_ms", "timestamp_field", "trade_timestamp", "trade_conditions", "source", "category",
    "v", "kind", "change",
)  # fmt: skip


@st.composite
def mutated(draw, feed):
    """A value of the feed, or a notice, with a few fields of any type and size."""
    seq = draw(st.integers(1, 8))
    base = draw(
        st.sampled_from([
            feed_value(feed, seq=seq).decode(), gap_value(seq).decode(), reject_value(seq).decode(),
        ])
    )  # fmt: skip
    fields = [
        f'{json.dumps(name)}:{value}'
        for name, value in draw(st.dictionaries(
            st.sampled_from((*FIELDS, "gap_kind", "cause", "symbols", "from_at", "to_at", "reason",
                             "detail", "payload", "size_bytes")),
            ANY_JSON, max_size=3,
        )).items()
    ]  # fmt: skip
    changed = base[:-1] + "".join(f",{field}" for field in fields) + "}"
    return changed.encode("utf-8", "surrogatepass")


def bytes_of(feed):
    """Anything that a topic may hold."""
    value = mutated(feed)
    cut = st.tuples(value, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])
    overwritten = st.tuples(value, st.integers(0, 100), st.binary(min_size=1, max_size=4)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
    )
    return st.one_of(value, value, cut, overwritten, st.binary(max_size=40))


@pytest.mark.parametrize("name", [feed.name for feed in FEEDS])
async def test_whatever_a_topic_holds_is_stored_or_parked(postgres_dsn, name):
    """And so is everything that follows it."""
    pipeline = await Pipeline(postgres_dsn, name).open()
    total = 0

    @settings(
        max_examples=60, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(bytes_of(pipeline.feed), min_size=1, max_size=8))
    def batches(values: list[bytes]) -> None:
        collected.append(values)

    collected: list[list[bytes]] = []
    batches()
    for values in collected:
        await pipeline.put(*values)
        total += len(values)
        assert sum(pipeline.counts()) == total
    stored, gaps, parked, repeats = pipeline.counts()
    assert min(stored, gaps, parked, repeats) > 0
    last = feed_value(pipeline.feed, seq=10**6, epoch=2**61)
    await pipeline.put(last)
    assert pipeline.counts() == (stored + 1, gaps, parked, repeats)
    await pipeline.store.close()
