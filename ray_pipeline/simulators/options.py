"""The configuration of a simulated venue."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """
    The configuration of a simulator.

    Attributes:
        host, port, control_port: Where it listens; port 0 picks a free one.
        rate: Records per second over all subscribed symbols together.
        seed: The same seed gives the same prices.
        symbols: The symbols that exist; None for any.
        replay: Recorded files to send once, instead of generated data.
        speed: Of the replay: 1 as recorded, 10 ten times as fast, 0 as fast as the socket allows.
        wait_symbols: How many symbols must be subscribed before a replay begins; None for all
            symbols in the files.
        ping_s: Seconds between pings.
    """

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    rate: float = 100.0
    seed: int = 1
    symbols: tuple[str, ...] | None = None
    replay: tuple[Path, ...] = ()
    speed: float = 1.0
    wait_symbols: int | None = None
    ping_s: float = 10.0
