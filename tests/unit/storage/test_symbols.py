"""How often the symbols are read again after a failure."""

from ray_pipeline.errors import DatabaseUnavailable, FeedRefused, FeedUnavailable
from ray_pipeline.storage.postgres.symbols import LONGEST_RETRY_S, RETRY_S, PolledSymbols
from tests.fake_feed import running
from tests.virtual_time import now_s, until_s, virtual_time


class Listing:
    """Fails with each of the errors in turn, then returns one symbol."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls_at_s: list[float] = []

    async def load(self) -> dict[str, None]:
        self.calls_at_s.append(now_s())
        if self.errors:
            raise self.errors.pop(0)
        return {"KRW-BTC": None}


async def read(listing: Listing, *, for_s: float) -> tuple[PolledSymbols, list]:
    symbols, updates = PolledSymbols(listing.load, poll_s=10_000.0), []

    async def follow() -> None:
        async for update in symbols.updates():
            updates.append(dict(update))

    async with running(follow()):
        await until_s(for_s)
    return symbols, updates


@virtual_time
async def test_a_venue_that_is_down_is_asked_ever_more_slowly():
    """Its list is requested again and again until it returns."""
    listing = Listing(*[FeedUnavailable("no route")] * 8)

    symbols, updates = await read(listing, for_s=1_000)

    pauses_s = [
        later - first
        for first, later in zip(listing.calls_at_s, listing.calls_at_s[1:], strict=False)
    ]
    assert pauses_s == [1, 2, 4, 8, 16, 32, LONGEST_RETRY_S, LONGEST_RETRY_S]
    assert (updates, symbols.cause) == ([{"KRW-BTC": None}], "")


@virtual_time
async def test_a_requested_pause_is_kept_and_the_cause_is_known():
    listing = Listing(FeedRefused("too many requests", retry_after_s=300.0))

    symbols, updates = await read(listing, for_s=299)

    assert listing.calls_at_s == [0]
    assert (updates, symbols.cause) == ([], "the symbols cannot be read: too many requests")


@virtual_time
async def test_an_outage_of_postgres_is_waited_out_at_one_pace():
    listing = Listing(*[DatabaseUnavailable("no database")] * 5)

    await read(listing, for_s=10)

    assert listing.calls_at_s == [RETRY_S * number for number in range(6)]
