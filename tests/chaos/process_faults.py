"""Faults of the pipeline's own processes, and of what they have on their machine."""

import asyncio

from tests.chaos.processes import Child
from tests.chaos.spool_disk import empty, fill
from tests.chaos.stack import LEASE_TTL_S, PRODUCER_OF, VENUES, Stack

# Longer than a run, so that the times that a process wrote show under which clock it wrote them.
CLOCK_STEP_S = 3_660.0


async def kill(stack: Stack, target: str, _: float) -> None:
    """kill -9; the process is restarted."""
    stack.children[target].kill()


async def freeze(stack: Stack, target: str, lasts_s: float) -> None:
    """SIGSTOP, SIGCONT."""
    child = stack.children[target]
    child.freeze()
    try:
        await asyncio.sleep(lasts_s)
    finally:
        child.thaw()


async def kill_while_cut(stack: Stack, link: str, lasts_s: float) -> None:
    """Nothing arrives from a venue, and before its producers notice, they are killed."""
    streams = VENUES[link.removeprefix("producers-")]
    stack.links[link].set("drop")
    try:
        await asyncio.sleep(lasts_s)
        for name in {PRODUCER_OF[stream] for stream in streams}:
            stack.children[name].kill()
    finally:
        stack.links[link].set("pass")


async def zombie_consumer(stack: Stack, target: str, lasts_s: float) -> None:
    """Freeze a consumer until another has its partitions, then let it wake up."""
    frozen = stack.children[target]
    second = Child(f"{target}-second", frozen.arguments, frozen.values, frozen.directory)
    stack.children[second.name] = second
    frozen.freeze()
    second.start()
    try:
        await asyncio.sleep(LEASE_TTL_S + lasts_s)
        frozen.thaw()
        await asyncio.sleep(lasts_s)
    finally:
        frozen.thaw()
        await second.stop_restarting()
        second.kill()
        del stack.children[second.name]


async def clock(stack: Stack, target: str, lasts_s: float) -> None:
    """The wall clock is more than an hour ahead, the next time more than an hour behind."""
    wall_clock = stack.clocks.by_name[target]
    ahead = len(wall_clock.settings) % 4 == 1  # each fault adds two settings
    wall_clock.set(CLOCK_STEP_S if ahead else -CLOCK_STEP_S)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        wall_clock.set(0.0)


async def spool_full(stack: Stack, link: str, lasts_s: float) -> None:
    """The broker cannot be reached, and the disk of the spool is full."""
    fill(stack.spool)
    stack.links[link].set("stall")
    try:
        await asyncio.sleep(lasts_s)
    finally:
        stack.links[link].set("pass")
        empty(stack.spool)
