"""`ray-pipeline simulate`: providers' servers on this machine, with faults on request."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.errors import PipelineError
from ray_pipeline.simulators.base import Simulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.simulators.venue import VenueSimulator
from ray_pipeline.simulators.venue_registry import venue_simulators

simulate_app = typer.Typer(
    name="simulate",
    help="Serve a provider's protocol from generated or recorded data. Prints one JSON line with "
    "its addresses when it listens; faults are asked for at `control_url`, for example: "
    "curl -X POST CONTROL_URL/close -d '{\"code\": 1006}'.",
    no_args_is_help=True,
)

Host = Annotated[str, typer.Option(help="Address to listen at.")]
Port = Annotated[int, typer.Option(help="Port; 0 picks a free one.")]
ControlPort = Annotated[int, typer.Option(help="Port of the control endpoint; 0: a free one.")]
Rate = Annotated[float, typer.Option(help="Records per second, over all subscribed symbols.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same prices.")]
Symbols = Annotated[
    str | None,
    typer.Option(help="Only these symbols exist: comma separated. Default: any; of exchanges 60."),
]
Replay = Annotated[
    list[Path] | None,
    typer.Option(
        help="Send recorded files instead, once, merged by time: frames (.jsonl), trades (.csv, "
        ".zip). Repeat the option for more files.",
        exists=True,
        dir_okay=False,
    ),
]
Speed = Annotated[
    float, typer.Option(help="Of the replay: 1 as recorded, 10 ten times as fast, 0 at once.")
]
WaitSymbols = Annotated[
    int | None,
    typer.Option(help="Begin the replay when so many symbols are subscribed. Default: all."),
]


UntilStdinEnds = Annotated[
    bool,
    typer.Option(help="End when standard input does: with the process that started this one."),
]


def _add(simulator: VenueSimulator) -> None:
    """Add the command of a simulator. All venues have the same options."""

    @simulate_app.command(simulator.name, help=simulator.help)
    def serve(
        host: Host = "127.0.0.1",
        port: Port = 0,
        control_port: ControlPort = 0,
        rate: Rate = simulator.rate,
        seed: Seed = 1,
        symbols: Symbols = None,
        replay: Replay = None,
        speed: Speed = 1.0,
        wait_symbols: WaitSymbols = None,
        until_stdin_ends: UntilStdinEnds = False,
    ) -> None:
        options = Options(
            host=host,
            port=port,
            control_port=control_port,
            rate=rate,
            seed=seed,
            symbols=tuple(symbols.split(",")) if symbols else None,
            replay=tuple(replay or ()),
            speed=speed,
            wait_symbols=wait_symbols,
        )
        names = (*simulator.addresses, "control_url", "endpoint")
        _serve(lambda: simulator.make(options), names, until_stdin_ends=until_stdin_ends)


for venue_simulator in venue_simulators().values():
    _add(venue_simulator)


@simulate_app.command("rest")
def rest_providers(
    host: Host = "127.0.0.1",
    port: Port = 0,
    control_port: ControlPort = 0,
    seed: Seed = 1,
    payloads: Annotated[
        Path | None,
        typer.Option(
            help="Answer with recorded bodies of this folder where one fits (its manifest.jsonl "
            "says which request each answered); else with generated ones.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    enforce: Annotated[
        bool, typer.Option(help="Refuse calls past the providers' quotas, in their own words.")
    ] = False,
    until_stdin_ends: UntilStdinEnds = False,
) -> None:
    """
    Serve every REST provider of the batch jobs, each under its own path.

    Faults: curl -X POST CONTROL_URL -d '{"provider": "fred", "fault": "quota", "after": 3}';
    refuse (429), quota, slow (seconds), broken, truncated, error (status), bad_key, clear.
    """
    options = RestOptions(
        host=host,
        port=port,
        control_port=control_port,
        seed=seed,
        payloads=payloads,
        enforce=enforce,
    )
    names = ("base_url", "control_url", "variables")
    _serve(lambda: RestSimulator(options), names, until_stdin_ends=until_stdin_ends)


def _serve(
    make: Callable[[], Simulator | RestSimulator], names: tuple[str, ...], *, until_stdin_ends: bool
) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        if until_stdin_ends:
            asyncio.get_running_loop().add_reader(sys.stdin, _read_stdin, stop)
        async with make() as server:
            print(json.dumps({name: getattr(server, name) for name in names}), flush=True)
            await stop.wait()

    try:
        asyncio.run(run())
    except PipelineError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def _read_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stop.set()
