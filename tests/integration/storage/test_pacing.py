"""The pace that all processes share, on a real Postgres."""

import asyncio
import time

from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.pacing import Pacer
from tests.support import scalar

PAUSE_S = 0.2
TURNS = 6


async def test_turns_of_several_processes_are_spaced(postgres_dsn):
    """Two pacers with one name share the pace, however their turns mix."""
    pacers = [Pacer(postgres_dsn, "connect", pause_s=PAUSE_S) for _ in range(2)]
    began_s = time.monotonic()

    await asyncio.gather(*(pacers[n % 2].turn() for n in range(TURNS)))

    # The first turn is free. More time than that says only that the machine is busy.
    assert time.monotonic() - began_s >= PAUSE_S * (TURNS - 1) * 0.9


async def test_names_have_a_pace_of_their_own(postgres_dsn):
    """Each name has one row, with the next free moment."""
    for name in ("connect", "snapshot", "connect"):
        await Pacer(postgres_dsn, name, pause_s=0.01).turn()

    async with session(postgres_dsn, name="test") as connection:
        assert await scalar(connection, "SELECT array_agg(name ORDER BY name) FROM pacers") == [
            "connect", "snapshot",
        ]  # fmt: skip


async def test_without_a_pause_nothing_is_asked(postgres_dsn):
    """A pause of 0 switches pacing off."""
    await Pacer(postgres_dsn, "connect", pause_s=0).turn()

    async with session(postgres_dsn, name="test") as connection:
        assert await scalar(connection, "SELECT count(*) FROM pacers") == 0


async def test_during_an_outage_a_process_paces_itself():
    """Nothing listens on port 1. A producer must connect without Postgres, politely."""
    pacer = Pacer("postgresql://user@127.0.0.1:1/db", "connect", pause_s=PAUSE_S)
    began_s = time.monotonic()

    for _ in range(3):
        await pacer.turn()

    assert time.monotonic() - began_s >= PAUSE_S * 2 * 0.9
