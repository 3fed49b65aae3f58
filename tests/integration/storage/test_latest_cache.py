"""Latest values on a real Valkey: within their budget, forward in time, and on the right data."""

import contextlib
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_pipeline.errors import CacheUnavailable
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.storage.redis.latest_cache import CacheLimits, LatestCache
from ray_pipeline.storage.redis.second_codec import unpack
from ray_pipeline.stream.cache import CacheUsage, LatestValue

README = Path(__file__).parents[3] / "README.md"
MB = 1_000_000
TTL_S = 432_000
PREFIXES = {"sp500": "stocks:sp500", "bithumb": "crypto"}


def value(symbol: str, event_ms: int, price: object = 129.575, *, extra: str = "") -> LatestValue:
    """A value as the feed writes it; `extra` makes it longer."""
    text = (
        f'{{"symbol":"{symbol}","price":{price},{extra}"volume":100,"timestamp":{event_ms},'
        f'"source":"sp500_websocket","event_time_ms":{event_ms},"schema":1}}'
    )
    return LatestValue(symbol, event_ms, text)


class Writer:
    """A cache with a virtual clock."""

    def __init__(self, url: str, *, feed: str = "sp500", name: str = "a", **limits) -> None:
        self.now_s = int(time.time()) // 60 * 60
        self.feed = feed
        self.client = redis.Redis.from_url(url, decode_responses=True)
        chosen = {"ttl_s": TTL_S, "budget_bytes": 50 * MB, "realtime_keys": 60} | limits
        self.cache = LatestCache(
            url,
            feed_named(feed),
            limits=CacheLimits(publishes_per_s=2.0, **chosen),
            writer=name,
            partitions=(0, 1),
            clock=lambda: self.now_s,
        )

    async def write(self, *values: LatestValue) -> CacheUsage | None:
        """Write values, sorted as the buffer sorts them."""
        ordered = sorted(values, key=lambda item: (item.symbol, item.event_ms))
        return await self.cache.write(ordered, complete_until_s=self.now_s)

    async def run(self, symbols: Iterable[str], *, seconds: int) -> CacheUsage:
        """Write a value of every symbol for each second."""
        usage = None
        for _ in range(seconds):
            self.now_s += 1
            usage = await self.write(*(value(name, self.now_s * 1000 + 123) for name in symbols))
        assert usage is not None
        return usage

    def kept(self, symbol: str) -> dict[int, str]:
        """The packed values of a symbol by second, unpacked."""
        shapes = self.client.hgetall(f"pipeline:shapes:{self.feed}")
        seconds = {}
        for key in self.client.scan_iter(f"seconds:{self.feed}:{symbol}:*", count=1000):
            minute, fields = int(key.rpartition(":")[2]), self.client.hgetall(key)
            for field in (int(name) for name in fields if int(name) < 60):
                parts = []
                while part := fields.get(str(field + 60 * len(parts))):
                    parts.append(part)
                second = minute * 60 + field
                seconds[second] = unpack("".join(parts), shapes, symbol, second=second)
        return seconds

    def latest_ms(self, symbol: str) -> int:
        """The event time of the value that clients read."""
        text = self.client.get(f"latest:{PREFIXES[self.feed]}:{symbol}")
        return json.loads(text)["event_time_ms"] if text else 0

    def snapshot(self) -> dict[bytes, bytes]:
        """Everything that the server holds."""
        with redis.Redis.from_url(**self._address()) as client:
            return {key: client.dump(key) for key in client.scan_iter()}

    def restore(self, snapshot: dict[bytes, bytes]) -> None:
        """Replace everything that the server holds."""
        with redis.Redis.from_url(**self._address()) as client:
            client.flushall()
            for key, dump in snapshot.items():
                client.restore(key, 600_000, dump)

    def _address(self) -> dict[str, str]:
        options = self.client.connection_pool.connection_kwargs
        host, port, password = options["host"], options["port"], options["password"]
        return {"url": f"redis://:{password}@{host}:{port}/0"}


@pytest.fixture
async def make(redis_url):
    """Makes writers, which begin with a rebuild."""
    writers = []

    async def begin(url: str = redis_url, **options) -> Writer:
        writer = Writer(url, **options)
        writers.append(writer)
        await writer.cache.begin_rebuild()
        return writer

    yield begin
    for writer in writers:
        await writer.cache.close()
        writer.client.close()


def names(count: int, *, first: int = 0) -> list[str]:
    return [f"S{number:05}" for number in range(first, first + count)]


async def test_a_second_can_be_read_by_its_key_and_in_packed_form(make):
    """Clients of the old pattern find the newest seconds, readers of the packed one find all."""
    writer = await make(realtime_keys=5)
    start_s = writer.now_s
    await writer.run(["AAPL"], seconds=150)

    texts = {
        second: value("AAPL", second * 1000 + 123).value
        for second in range(start_s + 1, start_s + 151)
    }
    assert writer.kept("AAPL") == texts
    keys = sorted(writer.client.scan_iter("realtime:*"))
    assert keys == [f"realtime:stocks:sp500:AAPL:{start_s + second}" for second in range(146, 151)]
    assert writer.client.get(keys[0]) == texts[start_s + 146]
    assert json.loads(writer.client.hget("sp500_realtime_data", "AAPL")) == json.loads(
        texts[start_s + 150]
    )


@pytest.mark.parametrize("feed", ["sp500", "bithumb"])
async def test_the_reader_in_the_readme_reads_every_second(make, feed):
    """It is what a client without this package has."""
    (snippet,) = re.findall(r"```python\n(import re\n.*?)```", README.read_text(), re.DOTALL)
    reader: dict[str, Any] = {}
    exec(snippet, reader)
    writer = await make(feed=feed)
    texts = {}
    for offset in range(150):
        extra = f'"note":"$s, \\"{offset % 3}\\"","long":{"7" * (offset % 100 + 1)},'
        item = value("KRW-BTC", (writer.now_s + offset) * 1000 + offset, extra=extra)
        texts[item.event_ms // 1000] = item.value
        await writer.write(item)

    assert {
        second: reader["second"](writer.client, feed, "KRW-BTC", second) for second in texts
    } == texts
    assert reader["second"](writer.client, feed, "KRW-BTC", writer.now_s - 1) is None


async def test_hashes_stay_in_the_compact_encoding(make):
    """A longer value is continued in another field: one long field converts the whole hash."""
    writer = await make()
    extra = "".join(f'"figure_{number}":{number}.123456789,' for number in range(20))
    await writer.write(*(value("AAPL", (writer.now_s + n) * 1000, extra=extra) for n in range(60)))

    (key,) = writer.client.scan_iter("seconds:*")
    assert writer.client.object("encoding", key) == "listpack"
    assert len(writer.kept("AAPL")) == 60


async def test_a_packed_value_takes_a_seventh_of_a_key(make):
    """The counted bytes are those of the server, within a tenth."""
    writer = await make(realtime_keys=0)
    client = writer.client
    await writer.run(names(200), seconds=60)
    before, counted_before = client.info("memory")["used_memory"], await writer.write()

    usage = await writer.run(names(200), seconds=240)

    grown = client.info("memory")["used_memory"] - before
    assert grown / (200 * 240) < 40
    assert usage.feed_bytes - counted_before.feed_bytes == pytest.approx(grown, rel=0.1)


async def test_a_budget_shortens_the_retention_and_not_the_latest_values(make):
    """The oldest minutes go, and the page says why."""
    writer = await make(budget_bytes=2 * MB)
    symbols = names(500)
    await writer.run(symbols, seconds=1)
    empty = writer.client.info("memory")["used_memory"]
    for _ in range(6):
        usage = await writer.run(symbols, seconds=60)
        assert usage.total_bytes <= usage.budget_bytes
        assert writer.client.info("memory")["used_memory"] - empty < 2 * MB

    assert {writer.latest_ms(name) for name in symbols} == {writer.now_s * 1000 + 123}
    assert 0 < usage.retention_s < 360
    assert usage.shortened == "all feeds share 2 MB; raise PIPELINE_REDIS__BUDGET_MB"
    kept = writer.kept(symbols[0])
    assert max(kept) == writer.now_s
    assert sorted(kept) == list(range(min(kept), writer.now_s + 1))


async def test_a_burst_of_symbols_stays_within_the_budget(make):
    """Keys and minutes of the symbols before it make room."""
    writer = await make(budget_bytes=MB)
    await writer.run(names(20), seconds=200)

    usage = await writer.run(names(4_000, first=20), seconds=3)

    assert usage.total_bytes <= usage.budget_bytes
    assert {writer.latest_ms(name) for name in names(4_000, first=20)} == {
        writer.now_s * 1000 + 123
    }
    assert writer.latest_ms("S00000") > 0


async def test_feeds_share_the_budget_and_the_largest_makes_room(make):
    """A small feed keeps its history beside a large one."""
    small = await make(feed="bithumb", budget_bytes=MB)
    large = await make(budget_bytes=MB)
    await small.run(["KRW-BTC"], seconds=60)
    large.now_s = small.now_s
    usage = await large.run(names(300), seconds=180)

    assert usage.total_bytes <= MB
    assert usage.shortened
    assert len(small.kept("KRW-BTC")) == 60
    small.now_s = large.now_s
    assert (await small.write()).shortened == ""


async def test_the_retention_grows_again_after_a_burst(make):
    """It is shortened only as long as what is missing lies within the configured time."""
    writer = await make(budget_bytes=MB, ttl_s=600)
    await writer.run(names(500), seconds=120)
    assert (await writer.write()).shortened

    usage = await writer.run(["AAPL"], seconds=601)

    assert (usage.retention_s, usage.shortened) == (600, "")


async def test_a_feed_that_ended_frees_its_share(make):
    """Its keys expire without a script that subtracts them."""
    ended = await make(feed="bithumb", budget_bytes=MB, ttl_s=1)
    await ended.run(names(50), seconds=30)
    for key in ended.client.scan_iter("*bithumb*", count=1000):
        ended.client.delete(key)
    writer = await make()

    usage = await writer.run(["AAPL"], seconds=1)

    assert usage.total_bytes == usage.feed_bytes


@pytest.mark.parametrize(
    "option", [("hash-max-listpack-value", 8), ("hash-max-listpack-entries", 8)]
)
async def test_the_budget_holds_for_a_server_that_stores_hashes_at_length(make, own_redis, option):
    """Sizes are measured and not assumed: the retention is shorter instead."""
    writer = await make(url=own_redis.url, budget_bytes=3 * MB, realtime_keys=0)
    writer.client.config_set(*option)
    await writer.run(names(100), seconds=1)
    empty = writer.client.info("memory")["used_memory"]

    usage = await writer.run(names(100), seconds=480)

    assert usage.shortened
    assert writer.client.info("memory")["used_memory"] - empty < 4 * MB


async def test_a_user_who_may_not_read_sizes_has_an_estimate(make, own_redis):
    """Managed servers restrict INFO and MEMORY."""
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all",
                               "-info", "-memory")  # fmt: skip
    url = re.sub("//:[^@]*@", "//app:pw@", own_redis.url)
    writer = await make(url=url, budget_bytes=MB)

    usage = await writer.run(names(100), seconds=300)

    assert 0 < usage.total_bytes <= MB
    assert usage.shortened


async def test_a_value_of_long_ago_is_a_latest_value_only(make):
    """A replayed archive, or a venue that sends no time, must not leave keys that nothing lists."""
    writer = await make()
    await writer.write(value("AAPL", 5), value("MSFT", (writer.now_s - TTL_S) * 1000))

    assert writer.latest_ms("AAPL") == 5
    assert not writer.client.keys("realtime:*") + writer.client.keys("seconds:*")


async def test_sums_without_data_do_not_block_a_full_server(make, own_redis):
    """Correcting them is a deletion, which a full server accepts."""
    writer = await make(url=own_redis.url)
    await writer.run(names(50), seconds=3)
    for key in (*writer.client.keys("seconds:*"), "pipeline:minutes:sp500"):
        writer.client.delete(key)
    writer.client.config_set("maxmemory", writer.client.info("memory")["used_memory"] - 1)

    assert await writer.run(names(50), seconds=1)


def fill(client: redis.Redis, *, up_to_bytes: int) -> int:
    """Write keys of another program until the server holds so much, and return their number."""
    count = 0
    while client.info("memory")["used_memory"] < up_to_bytes:
        client.set(f"other:{count}", "x" * 20_000)
        count += 1
    return count


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
async def test_history_makes_room_for_other_programs(make, own_redis, policy):
    """Nothing is evicted, whatever the policy, and no key of another program is touched."""
    writer = await make(url=own_redis.url)
    symbols = names(200)
    await writer.run(symbols, seconds=120)
    used = writer.client.info("memory")["used_memory"]
    writer.client.config_set("maxmemory", used + 3 * MB)
    writer.client.config_set("maxmemory-policy", policy)

    others, usage = 0, None
    for part in range(1, 5):
        others = max(others, 0)
        target = int((used + 3 * MB) * (0.8 + 0.04 * part))
        while writer.client.info("memory")["used_memory"] < target:
            writer.client.set(f"other:{others}", "x" * 20_000)
            others += 1
        usage = await writer.run(symbols, seconds=20)

    info = writer.client.info()
    assert info["evicted_keys"] == 0
    assert info["used_memory"] < info["maxmemory"]
    assert sum(1 for _ in writer.client.scan_iter("other:*", count=1000)) == others
    assert {writer.latest_ms(name) for name in symbols} == {writer.now_s * 1000 + 123}
    assert "other data; raise maxmemory" in usage.shortened


async def test_a_full_server_loses_history_and_no_latest_value(make, own_redis):
    """An OOM reply is answered with the oldest minutes, in the same script."""
    writer = await make(url=own_redis.url)
    symbols = names(200)
    await writer.run(symbols, seconds=120)
    limit = writer.client.info("memory")["used_memory"] + MB
    writer.client.config_set("maxmemory", limit)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        fill(writer.client, up_to_bytes=2 * limit)

    usage = await writer.run(symbols, seconds=1)

    assert usage.shortened
    assert {writer.latest_ms(name) for name in symbols} == {writer.now_s * 1000 + 123}


async def test_a_restart_on_a_full_server_makes_room_too(make, own_redis):
    """The rebuild begins with a write, which must not wait for memory that history holds."""
    writer = await make(url=own_redis.url)
    await writer.run(names(200), seconds=120)
    limit = writer.client.info("memory")["used_memory"] + MB
    writer.client.config_set("maxmemory", limit)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        fill(writer.client, up_to_bytes=2 * limit)

    restarted = await make(url=own_redis.url, name="b")

    assert await restarted.run(names(200), seconds=1)


async def test_keys_of_an_earlier_version_make_room(make, own_redis):
    """They fill the server for up to five days, and no list names them."""
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 4 * MB)
        kept = [
            "realtime:crypto:upbit:KRW-BTC:1796032621", "realtime:stocks:sp500:readme",
            "realtime:mine:AAPL:1796032621", "seconds:bithumb:KRW-BTC:29933877", "mine",
        ]  # fmt: skip
        for key in kept:
            client.set(key, "1")
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for second in range(100_000):
                client.set(f"realtime:stocks:sp500:AAPL:{1_796_000_000 + second}", "x" * 200)
        assert client.info("memory")["used_memory"] > 3.9 * MB

    writer = await make(url=own_redis.url)
    usage = await writer.run(names(20), seconds=3)

    assert usage.shortened == ""
    assert len(writer.client.keys("realtime:stocks:sp500:S*")) == 60
    assert not writer.client.keys("realtime:stocks:sp500:AAPL:*")
    assert writer.client.exists(*kept) == len(kept)


async def test_a_rebuild_deletes_no_value_that_is_listed(make):
    """Another consumer of the feed writes at the same time."""
    first = await make(name="a")
    await first.run(["AAPL", "A:B"], seconds=70)
    before = sorted(first.client.keys("realtime:*") + first.client.keys("seconds:*"))

    await make(name="b")

    assert sorted(first.client.keys("realtime:*") + first.client.keys("seconds:*")) == before


async def test_a_server_full_of_other_data_is_an_outage_with_its_cause(make, own_redis):
    """Once the little history is gone, nothing can make room; the writer repeats its values."""
    writer = await make(url=own_redis.url)
    await writer.run(["AAPL"], seconds=1)
    writer.client.config_set("maxmemory", 1)

    with pytest.raises(CacheUnavailable, match="full of data of other programs") as error:
        await writer.run(["AAPL"], seconds=3)
    assert "raise its maxmemory" in error.value.fix

    writer.client.config_set("maxmemory", 0)
    await writer.cache.begin_rebuild()
    await writer.run(["AAPL"], seconds=1)


async def test_an_evicted_latest_value_is_noticed(make):
    """An eviction policy may take any key: the next count of the keys asks for a rebuild."""
    writer = await make()
    await writer.run(["AAPL", "MSFT"], seconds=1)
    writer.client.delete("latest:stocks:sp500:AAPL")
    writer.now_s += 60

    assert await writer.write() is None


@pytest.mark.parametrize("lost", ["*", "pipeline:writers:*", "pipeline:latest_ms:*"])
async def test_an_emptied_redis_is_not_written_before_its_rebuild(make, lost):
    """A late value in an empty Redis would become the latest one."""
    writer = await make()
    await writer.run(["AAPL"], seconds=1)
    for key in writer.client.keys(lost):
        writer.client.delete(key)

    late = value("AAPL", (writer.now_s - 30) * 1000)

    assert await writer.write() is None, "a quiet feed notices it too"
    assert await writer.write(late) is None
    assert writer.latest_ms("AAPL") != late.event_ms


async def test_an_older_copy_is_noticed_and_says_from_when_on_it_is_incomplete(make):
    """A restored snapshot, or a replica that lagged behind when it became the primary."""
    writer = await make()
    await writer.run(["AAPL"], seconds=10)
    copied_at_s, copy = writer.now_s, writer.snapshot()
    await writer.run(["AAPL"], seconds=50)
    writer.restore(copy)

    assert await writer.write() is None
    assert await writer.cache.begin_rebuild() == copied_at_s
    assert await writer.write(value("AAPL", writer.now_s * 1000)) is not None
    assert writer.latest_ms("AAPL") == writer.now_s * 1000


async def test_a_copy_of_a_moment_ago_is_noticed(make):
    """Every write changes the marker, so that no copy equals what is there."""
    writer = await make()
    await writer.run(["AAPL"], seconds=1)
    copy = writer.snapshot()
    await writer.run(["AAPL"], seconds=1)
    writer.restore(copy)

    assert await writer.write() is None


async def test_a_check_writes_nothing(make):
    """Twice a second and consumer, it would fill the server's log on disk."""
    writer = await make()
    await writer.run(["AAPL"], seconds=1)
    before = writer.client.info("persistence")["rdb_changes_since_last_save"]

    for _ in range(10):
        assert await writer.write()

    assert writer.client.info("persistence")["rdb_changes_since_last_save"] == before


async def test_a_restart_learns_how_far_the_writer_before_it_came(make):
    """Also if Redis was restored while no writer ran."""
    first = await make(name="a")
    await first.run(["AAPL"], seconds=10)

    second = Writer(first._address()["url"], name="b")

    assert await second.cache.begin_rebuild() == first.now_s
    await second.cache.close()


async def test_two_writers_of_a_partition_do_not_disturb_each_other(make):
    """An outdated consumer may write until it notices that it lost its lease."""
    first, second = await make(name="a"), await make(name="b")
    for _ in range(3):
        assert await first.run(["AAPL"], seconds=1)
        assert await second.run(["AAPL"], seconds=1)


async def test_values_of_many_shapes_are_stored_whole(make):
    """A text that differs in every value must not fill the list of shapes."""
    writer = await make()
    values = [value(f"S{n:03}", writer.now_s * 1000, extra=f'"text":"{n}x",') for n in range(100)]
    await writer.write(*values)

    assert writer.client.hlen("pipeline:shapes:sp500") <= 64
    assert all(writer.kept(item.symbol) == {writer.now_s: item.value} for item in values)


steps = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from("AB"),
            st.integers(0, 150_000),
            st.integers(0, 10**6),
            st.sampled_from(["", '"more":' + "1" * 90 + ","]),
        ),
        max_size=12,
    ),
    max_size=5,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
async def test_each_second_keeps_its_newest_value(redis_url, batches):
    """In whatever order values arrive, and however long they are."""
    writer = Writer(redis_url, realtime_keys=4)
    writer.client.flushall()
    await writer.cache.begin_rebuild()
    start_ms = writer.now_s * 1000
    writer.now_s += 300
    newest: dict[tuple[str, int], LatestValue] = {}
    for batch in batches:
        by_second: dict[tuple[str, int], LatestValue] = {}
        for symbol, offset_ms, price, extra in batch:
            item = value(symbol, start_ms + offset_ms, price, extra=extra)
            key = (symbol, item.event_ms // 1000)
            if key not in by_second or item.event_ms >= by_second[key].event_ms:
                by_second[key] = item
        assert await writer.write(*by_second.values())
        for key, item in by_second.items():
            if key not in newest or item.event_ms >= newest[key].event_ms:
                newest[key] = item

    for symbol in "AB":
        expected = {second: item for (name, second), item in newest.items() if name == symbol}
        assert writer.kept(symbol) == {second: item.value for second, item in expected.items()}
        if expected:
            latest = max(expected.values(), key=lambda item: item.event_ms)
            assert writer.client.get(f"latest:stocks:sp500:{symbol}") == latest.value
        keys = {
            int(key.rpartition(":")[2]): writer.client.get(key)
            for key in writer.client.keys(f"realtime:stocks:sp500:{symbol}:*")
        }
        assert len(keys) == min(4, len(expected))
        assert keys.items() <= {second: item.value for second, item in expected.items()}.items()
    await writer.cache.close()
    writer.client.close()
