"""Reading and filling a table of symbols on a real Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from ray_pipeline.errors import FeedRefused
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.symbol_source import RestListing, Row
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.symbols import load_symbols

UPBIT = feed_named("upbit").symbols


@dataclass
class FakeVenue:
    """Answers every request with one list of markets."""

    body: bytes

    async def listing(self, listing: RestListing) -> Sequence[Row]:
        return list(listing.rows(self.body))


def market(code: str, name: str = "n") -> bytes:
    return f'{{"market":"{code}","korean_name":"{name}","english_name":"n"}}'.encode()


def listed(*markets: bytes) -> FakeVenue:
    return FakeVenue(b"[" + b",".join(markets) + b"]")


async def load(connection: Connection, venue: FakeVenue) -> list[str]:
    async with connection.transaction():
        return list(await load_symbols(connection, UPBIT, venue))


async def test_a_market_that_is_no_longer_listed_is_no_longer_a_symbol(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        first = await load(connection, listed(market("KRW-BTC"), market("KRW-ETH")))
        second = await load(connection, listed(market("KRW-ETH"), market("KRW-XRP")))

    assert (first, second) == (["KRW-BTC", "KRW-ETH"], ["KRW-ETH", "KRW-XRP"])


async def test_a_name_loses_the_characters_that_postgres_cannot_store(postgres_dsn):
    """One name must not cost the list."""
    async with session(postgres_dsn, name="test") as connection:
        venue = listed(market("KRW-ETH"), market("KRW-XRP", "a\\u0000b"))

        assert await load(connection, venue) == ["KRW-ETH", "KRW-XRP"]


# Too long for an index, and it compresses badly.
LONG = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(9_000))


@pytest.mark.parametrize(
    "hostile",
    [
        listed(market("KRW-ETH"), market("KRW-" + LONG)),
        listed(market("KRW-ETH"), market("KRW-XRP").replace(b'"n"', b'"\xff"')),
        FakeVenue(b"[" * 100_000),
        FakeVenue(b"{}"),
    ],
    ids=["too-long", "not-utf8", "deep", "no-list"],
)
async def test_a_hostile_list_costs_no_symbol(postgres_dsn, hostile):
    """The feed continues with the symbols of the last good list."""
    async with session(postgres_dsn, name="test") as connection:
        with pytest.raises(FeedRefused):
            await load(connection, hostile)
        await load(connection, listed(market("KRW-BTC")))

        assert await load(connection, hostile) == ["KRW-BTC"]
