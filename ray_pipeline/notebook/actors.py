"""Live actors: what they say of themselves, and what a person may tell them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import pandas as pd

from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.labels import labels
from ray_pipeline.observe.status import age

Status = Mapping[str, Any]
COLUMNS = ("state", "cause", "symbols", "records", "lag", "last_record", "pid")


class Handle(Protocol):
    """An actor that can be called; see `actors.deploy.RayHandle`."""

    async def call(self, method: str, *arguments: object) -> object:
        """Call a method and return its answer; Unavailable when there is none in time."""


class Joined(Protocol):
    """A cluster that was joined; see `actors.live`."""

    def names(self, kind: str) -> list[str]:
        """Return the names of the actors of a kind."""

    def handle(self, name: str) -> Handle | None:
        """Return the actor of that name, None where there is none."""

    def leave(self) -> None:
        """Leave it."""


class Cluster(Protocol):
    """Where the actors are, joined when they are first asked for."""

    def actors(self, kind: str) -> "Actors":
        """Return the living actors of a kind; PipelineError where no cluster can be joined."""

    def leave(self) -> None:
        """Leave the cluster, if it was joined."""


class Actor:
    """One live actor. Whatever is shown of it was asked when it was shown."""

    def __init__(self, background: Background, handle: Handle, *, kind: str, label: str) -> None:
        """Take the actor's handle and the name that people call it by."""
        self._background = background
        self._handle = handle
        self._kind = kind
        self.label = label

    def status(self) -> Status:
        """
        Return all that it says of itself.

        Raises:
            Unavailable: If it does not answer.
        """
        return cast(Status, self._call("status"))

    def pause(self) -> None:
        """
        Let it rest until `resume`.

        A producer disconnects and keeps its lease: the time becomes a gap that says so. A consumer
        gives its partitions back: what comes meanwhile waits in Kafka.
        """
        self._call("pause")

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._call("resume")

    def row(self) -> dict[str, object]:
        """Return what is shown of it; where it does not answer, that."""
        try:
            return summary(self.status())
        except Unavailable as error:
            return {"state": "unreachable", "cause": str(error.args[0])}

    def __repr__(self) -> str:
        return f"<{self._kind.capitalize()} {self.label}: {_sentence(self.row())}>"

    def _repr_html_(self) -> str:
        shown = {name: text for name, text in _texts(self.row()).items() if text}
        table = pd.DataFrame({f"{self._kind} {self.label}": shown})
        return str(table.to_html())

    def _call(self, method: str, *arguments: object) -> object:
        return self._background.run(self._handle.call(method, *arguments))


class ProducerHandle(Actor):
    """A live producer."""

    def resubscribe(self, symbols: str | Iterable[str] | None = None) -> list[str]:
        """
        Ask the provider again for these symbols, or for all; return those that are asked for.

        The connection stays, and so does everything else that it brings.

        Raises:
            PipelineError: If it collects none of these.
        """
        wanted = None if symbols is None else [symbols] if isinstance(symbols, str) else [*symbols]
        asked = cast(list[str], self._call("resubscribe", wanted))
        if wanted and not asked:
            raise PipelineError(
                f"{self.label} collects none of {', '.join(wanted[:5])}",
                fix='`pipeline.status("shards")` says how many symbols each producer has',
            )
        return asked


class Actors(Mapping[str, Actor]):
    """The living actors of a kind, by their short names, as they were when this was made."""

    def __init__(self, background: Background, joined: Joined, *, kind: str) -> None:
        """Look for them in a cluster."""
        self._kind = kind
        self._background = background
        make = ProducerHandle if kind == "producer" else Actor
        handles = {label: joined.handle(name) for label, name in labels(joined.names(kind)).items()}
        self._actors: dict[str, Actor] = {
            label: make(background, handle, kind=kind, label=label)
            for label, handle in handles.items()
            if handle is not None
        }

    def __getitem__(self, label: str) -> Actor:
        try:
            return self._actors[label]
        except KeyError:
            known = ", ".join(self._actors) or "none at all"
            raise PipelineError(f"no {self._kind} {label!r}", fix=f"there are {known}") from None

    def __contains__(self, label: object) -> bool:
        return label in self._actors

    def __iter__(self) -> Iterator[str]:
        return iter(self._actors)

    def __len__(self) -> int:
        return len(self._actors)

    def table(self) -> pd.DataFrame:
        """Return a row for each: state, cause, symbols, records, lag, last record, process."""
        rows = {label: actor.row() for label, actor in self._actors.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))

    def __repr__(self) -> str:
        return self._shown().to_string() if self._actors else f"no {self._kind}s"

    def _repr_html_(self) -> str:
        return str(self._shown().to_html())

    def _shown(self) -> pd.DataFrame:
        rows = {label: _texts(actor.row()) for label, actor in self._actors.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))


def summary(status: Status) -> dict[str, object]:
    """Return what is shown of a status, whichever kind of actor it is from."""
    if "partitions" in status:
        return {
            "state": status["state"],
            "cause": status["cause"],
            "symbols": None,
            "records": status["stored"],
            "lag": sum(status["lag"].values()),
            "last_record": _moment(status.get("last_stored_at_s")),
            "pid": status["pid"],
        }
    return {
        "state": status["state"],
        "cause": status.get("cause", ""),
        "symbols": f"{status.get('confirmed', 0)}/{status.get('wanted', 0)}",
        "records": status.get("received", 0),
        "lag": status.get("pending", 0),
        "last_record": status.get("last_data_at"),
        "pid": status["pid"],
    }


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _texts(row: Mapping[str, object]) -> dict[str, str]:
    """Return what is shown, as people read it."""
    return {name: _text(row.get(name)) for name in COLUMNS}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return f"{age((datetime.now(UTC) - value).total_seconds())} ago"
        case int():
            return f"{value:,}"
    return str(value)


def _sentence(row: Mapping[str, object]) -> str:
    texts = _texts(row)
    parts = [texts["state"] + (f" ({texts['cause']})" if texts["cause"] else "")]
    for name, words in (
        ("symbols", "{} symbols"),
        ("records", "{} records"),
        ("lag", "lag {}"),
        ("last_record", "last record {}"),
    ):
        if texts[name]:
            parts.append(words.format(texts[name]))
    return ", ".join(parts)
