"""Live actors: their status, and the commands that they accept."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import pandas as pd

from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.notebook.background import Background
from ray_pipeline.observe.freshness import age

Status = Mapping[str, Any]
COLUMNS = ("state", "cause", "symbols", "records", "lag", "last_record", "pid")


class ActorHandle(Protocol):
    """An actor that can be called; see `actors.ray_runtime.RayHandle`."""

    async def call(self, method: str, *arguments: object) -> object:
        """Call a method and return its result; Unavailable if the actor does not answer in time."""


class Actor:
    """One live actor. Its representation reads its status at that moment."""

    def __init__(
        self, background: Background, handle: ActorHandle, *, kind: str, label: str
    ) -> None:
        """Take the actor's handle and its short name."""
        self._background = background
        self._handle = handle
        self._kind = kind
        self.label = label

    def status(self) -> Status:
        """
        Return its full status.

        Raises:
            Unavailable: If it does not answer.
        """
        return cast(Status, self._call("status"))

    def pause(self) -> None:
        """
        Pause the actor until `resume`.

        A producer disconnects and keeps its lease: the pause becomes a gap with that cause. A
        consumer releases its partitions: records wait in Kafka until a consumer takes them.
        """
        self._call("pause")

    def resume(self) -> None:
        """Continue after a pause."""
        self._call("resume")

    def row(self) -> dict[str, object]:
        """Return its row of the table; one that says so if the actor does not answer."""
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
        Subscribe these symbols, or all, again; return those that were subscribed.

        The connection and its other subscriptions are not interrupted.

        Raises:
            PipelineError: If it collects none of these symbols.
        """
        names = None if symbols is None else [symbols] if isinstance(symbols, str) else [*symbols]
        subscribed = cast(list[str], self._call("resubscribe", names))
        if names and not subscribed:
            raise PipelineError(
                f"{self.label} collects none of {', '.join(names[:5])}",
                fix='`pipeline.status("shards")` says how many symbols each producer has',
            )
        return subscribed


class Actors(Mapping[str, Actor]):
    """The actors of a kind by their short names, as they lived when this was created."""

    def __init__(
        self, background: Background, handles: Mapping[str, ActorHandle], *, kind: str
    ) -> None:
        """Take their handles by their short names."""
        self._kind = kind
        actor = ProducerHandle if kind == "producer" else Actor
        self._actors: dict[str, Actor] = {
            label: actor(background, handle, kind=kind, label=label)
            for label, handle in handles.items()
        }

    def __getitem__(self, label: str) -> Actor:
        try:
            return self._actors[label]
        except KeyError:
            labels = ", ".join(self._actors) or "none at all"
            raise PipelineError(f"no {self._kind} {label!r}", fix=f"there are {labels}") from None

    def __contains__(self, label: object) -> bool:
        return label in self._actors

    def __iter__(self) -> Iterator[str]:
        return iter(self._actors)

    def __len__(self) -> int:
        return len(self._actors)

    def table(self) -> pd.DataFrame:
        """Return one row per actor: state, cause, symbols, records, lag, last record, process."""
        return self._frame(lambda row: row)

    def __repr__(self) -> str:
        return self._frame(_texts).to_string() if self._actors else f"no {self._kind}s"

    def _repr_html_(self) -> str:
        return str(self._frame(_texts).to_html())

    def _frame(self, form: Callable[[Mapping[str, object]], Mapping[str, object]]) -> pd.DataFrame:
        rows = {label: form(actor.row()) for label, actor in self._actors.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))


def summary(status: Status) -> dict[str, object]:
    """Return the columns of a status, of a producer or of a consumer."""
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
    """Return the columns of a row as texts for people."""
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
