"""
Measure, and write RESULTS.md: `make bench`, or `python benchmarks/run.py --only latency,chain`.

consumer   consumers of one full topic: this pipeline, a row-at-a-time one, Quix Streams
latency    from the provider's socket to Redis and Postgres, at a constant rate
chain      the highest rate that the whole chain sustains, and its CPU by stage
memory     the actors of the demo over time
redis      memory of values in Redis, and some hours of them within a budget
api        one API process: requests per second, and the push to a thousand clients
limiter    permits of the batch jobs' limiter
sweep      a batch job over 500 companies, compared with plain aiohttp
wide       storing 100,000 rows, compared with COPY and an upsert
slots      the delay of forty jobs that are due in one minute

A section is written as soon as it is measured; sections that are not measured are kept. All started
processes are ended, also after a failure, Ctrl-C or SIGTERM.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import api, batch, chain, consumers, latency, memory, redis_memory, report
from benchmarks.processes import say
from benchmarks.servers import running

RESULTS = Path(__file__).parent / "RESULTS.md"


def run_consumer(options: argparse.Namespace) -> tuple[str, str]:
    """Measure consumers."""
    with running() as servers:
        rows = consumers.measure(
            servers,
            trades=options.trades,
            slow_trades=options.slow_trades,
            symbols=options.symbols,
            without_quix=options.without_quix,
            repeat=options.repeat,
        )
    return consumers.TITLE, consumers.section(rows)


def run_latency(options: argparse.Namespace) -> tuple[str, str]:
    """Measure the latency."""
    with running() as servers:
        result = latency.measure(servers, per_s=options.latency_rate, seconds=options.latency_s)
    return latency.TITLE, latency.section(result)


def run_chain(options: argparse.Namespace) -> tuple[str, str]:
    """Measure the highest rate."""
    with running() as servers:
        result = chain.measure(servers, step_per_s=options.chain_step, seconds=options.chain_s)
    return chain.TITLE, chain.section(result)


def run_memory(options: argparse.Namespace) -> tuple[str, str]:
    """Measure the actors' memory."""
    return memory.TITLE, memory.section(memory.measure(seconds=options.memory_s))


def run_redis(options: argparse.Namespace) -> tuple[str, str]:
    """Measure the memory of values in Redis."""
    sizes, filled = redis_memory.measure(hours=options.redis_hours)
    return redis_memory.TITLE, redis_memory.section(sizes, filled)


def run_api(options: argparse.Namespace) -> tuple[str, str]:
    """Measure the API."""
    return api.TITLE, api.section(*api.measure(seconds=options.api_s))


def run_batch(title: str, section: Callable[[batch.BatchServers], str]) -> tuple[str, str]:
    """Measure a part of the batch half."""
    with batch.running() as servers:
        return title, section(servers)


SECTIONS: dict[str, Callable[[argparse.Namespace], tuple[str, str]]] = {
    "consumer": run_consumer,
    "latency": run_latency,
    "chain": run_chain,
    "memory": run_memory,
    "redis": run_redis,
    "api": run_api,
    "limiter": lambda _: run_batch(batch.LIMITER, batch.limiter),
    "sweep": lambda _: run_batch(batch.SWEEP, batch.sweep),
    "wide": lambda _: run_batch(batch.WIDE, batch.wide),
    "slots": lambda _: run_batch(batch.SLOTS, batch.slots),
}
ORDER = [
    consumers.TITLE, latency.TITLE, chain.TITLE, memory.TITLE, redis_memory.TITLE, api.TITLE,
    *batch.TITLES,
]  # fmt: skip


def chosen(text: str) -> list[str]:
    """Return the sections named in a comma separated list, in their order."""
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"no such section: {', '.join(sorted(unknown))}")
    return [name for name in SECTIONS if name in names]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = ",".join(SECTIONS)
    parser.add_argument("--only", type=chosen, default=list(SECTIONS), metavar=every)
    parser.add_argument("--trades", type=int, default=200_000, help="consumer: in the topic")
    parser.add_argument("--symbols", type=int, default=500, help="consumer: in the topic")
    parser.add_argument(
        "--slow-trades", type=int, default=20_000, help="consumer: for the row-at-a-time one"
    )
    parser.add_argument("--without-quix", action="store_true", help="consumer: leave Quix out")
    parser.add_argument("--repeat", type=int, default=3, help="consumer: rounds; their median")
    parser.add_argument("--latency-rate", type=int, default=1_000, help="latency: records a second")
    parser.add_argument("--latency-s", type=float, default=30.0, help="latency: how long")
    parser.add_argument("--chain-step", type=int, default=5_000, help="chain: rise of the rate")
    parser.add_argument("--chain-s", type=float, default=60.0, help="chain: the last rate's time")
    parser.add_argument("--memory-s", type=float, default=600.0, help="memory: how long")
    parser.add_argument("--redis-hours", type=float, default=4.0, help="redis: of virtual time")
    parser.add_argument("--api-s", type=float, default=20.0, help="api: each part")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def interrupted(number: int, _: FrameType | None) -> NoReturn:
    """Shut down in order; a second Ctrl-C must not leave servers running."""
    for repeated in (signal.SIGINT, signal.SIGTERM):
        signal.signal(repeated, signal.SIG_IGN)
    say("ending all processes")
    raise SystemExit(128 + number)


def main() -> None:
    """Run the requested measurements, and write each section when it is measured."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    origin = (
        f"{report.machine()}. Made by `make bench ARGS={shlex.quote(shlex.join(sys.argv[1:]))}`."
    )
    for name in options.only:
        title, text = SECTIONS[name](options)
        report.write(options.out, {title: f"{origin}\n\n{text}"}, order=ORDER)
        say(f"{title}: written to {options.out.name}")


if __name__ == "__main__":
    main()
