"""Sockets without a token: few at a time, and the newest of them."""

import asyncio

import pytest

from ray_pipeline.api.lobby import Dropped, Lobby


class Visitor:
    """One socket in the lobby, until it is told to show its token."""

    def __init__(self, lobby: Lobby, *, timeout_s: float = 60.0) -> None:
        self.shown = asyncio.Event()
        self.stay = asyncio.create_task(self._wait(lobby, timeout_s))

    async def _wait(self, lobby: Lobby, timeout_s: float) -> None:
        async with lobby.wait_in(timeout_s=timeout_s):
            await self.shown.wait()


async def arrive(lobby: Lobby, count: int) -> list[Visitor]:
    """Visitors that came one after the other."""
    visitors = []
    for _ in range(count):
        visitors.append(Visitor(lobby))
        await asyncio.sleep(0)
    return visitors


async def test_the_oldest_makes_room_for_the_newest():
    """Who came last has the longest time to show a token."""
    visitors = await arrive(Lobby(2), 4)

    for visitor in visitors[:2]:
        with pytest.raises(Dropped):
            await visitor.stay
    for visitor in visitors[2:]:
        visitor.shown.set()
        await visitor.stay


async def test_a_place_that_was_left_is_free():
    """Nobody has to go while there is room."""
    lobby = Lobby(2)
    first, second = await arrive(lobby, 2)
    first.shown.set()
    await first.stay
    (third,) = await arrive(lobby, 1)

    for visitor in (second, third):
        visitor.shown.set()
        await visitor.stay


async def test_who_takes_too_long_is_told_from_who_made_room():
    """The former hears why; the latter is closed at once."""
    with pytest.raises(TimeoutError):
        await Visitor(Lobby(1), timeout_s=0.0).stay


async def test_places_that_end_at_one_moment_are_all_given_back():
    """A deadline that has passed cannot be moved: a newcomer takes the place all the same."""
    lobby = Lobby(1)
    late = Visitor(lobby, timeout_s=0.0)
    await asyncio.sleep(0)  # it holds its place, and its deadline is due
    visitors = await arrive(lobby, 3)
    visitors[-1].shown.set()

    stays = [late.stay, *(visitor.stay for visitor in visitors)]
    results = await asyncio.gather(*stays, return_exceptions=True)
    assert [type(result) for result in results[1:]] == [Dropped, Dropped, type(None)]
    assert isinstance(results[0], TimeoutError | Dropped)


async def test_a_visitor_that_is_cancelled_leaves_its_place():
    """A server that ends cancels them."""
    lobby = Lobby(1)
    (visitor,) = await arrive(lobby, 1)
    visitor.stay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visitor.stay

    (after,) = await arrive(lobby, 1)
    after.shown.set()
    await after.stay
