"""The command that replays an archive."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import AsJson, Feed, check_feed, command, print_json
from ray_pipeline.settings import load
from ray_pipeline.storage.archive_replay import Selection, replay_archive


@command
async def replay(
    directory: Annotated[Path, typer.Argument(help="The archive: one folder per feed.")],
    *,
    feed: Feed = None,
    from_: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC, of Kafka's time."),
    ] = None,
    to: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="1 keeps the original pace, 10 is ten times as fast."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """
    Replay an archive of raw records through Kafka.

    Records keep their epochs and numbers. A database that has them stores nothing again; an empty
    one gets all of them: replay into it before its producers start, with the consumers running.
    """
    selection = Selection(
        feed=check_feed(feed),
        first_day=_day(from_, date.min),
        last_day=_day(to, date.max),
        speed=speed,
    )
    sent = await replay_archive(load(), directory, selection)
    if as_json:
        print_json(sent)
    else:
        for name, count in sent.items():
            typer.echo(f"{name}: {count:,} records sent")
    return 0


def _day(moment: datetime | None, otherwise: date) -> str:
    return (moment.date() if moment else otherwise).isoformat()
