"""Recorded bodies: a folder with a manifest that says which request each of them answered."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

# The folder's names for providers, where they are not ours.
FOLDERS = {
    "alphavantage": "alpha_vantage",
    "truthsocial": "truth_social",
    "yfinance": "yahoo",
    "sp500": "wikipedia",
}
CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": "application/x-download",
    ".html": "text/html",
}
# What tells answers of one endpoint apart; of other parameters a recording may have any.
SELECTING = frozenset({"function", "series_id", "maturity", "interval", "category", "q", "modules"})
IGNORED = frozenset({"apikey", "api_key", "token", "datatype", "file_type"})


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded body."""

    provider: str
    path: str
    query: tuple[tuple[str, str], ...]
    file: Path
    status: int

    @property
    def content_type(self) -> str:
        """What it was sent as."""
        return CONTENT_TYPES.get(self.file.suffix, "text/plain")

    def read(self) -> str:
        """Return the body."""
        return self.file.read_text()


def read_recordings(folder: Path) -> list[Recording]:
    """
    Return what the manifest of a folder lists and a GET answered with 200.

    Raises:
        OSError: If there is no manifest.
    """
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [one for line in lines for one in _entry(folder, json.loads(line))]


def _entry(folder: Path, facts: Mapping[str, object]) -> Iterator[Recording]:
    asked = str(facts.get("req") or "")
    method, _, target = asked.partition(" ")
    name = str(facts["file"])
    if method != "GET" or not target.startswith("/") or facts.get("status") != 200:
        return
    if Path(name).name.startswith(("error_", "empty_", "headers_")):
        return
    parts = urlsplit(target.split()[0])
    provider = name.split("/", 1)[0]
    query = tuple(pair for pair in parse_qsl(parts.query) if pair[0] not in IGNORED)
    yield Recording(
        FOLDERS.get(provider, provider), parts.path, query, folder / name, int(str(facts["status"]))
    )


def find(
    recordings: Sequence[Recording], provider: str, path: str, query: Mapping[str, str]
) -> Recording | None:
    """Return the recording that answers a request best, None where none does."""
    fitting = [
        one
        for one in recordings
        if one.provider == provider
        and (one.path == path or one.path.endswith(path) or path.endswith(one.path))
        and all(query.get(name) == value for name, value in one.query if name in SELECTING)
        and all(name in dict(one.query) for name in query if name in {"symbol", "function"})
        and all(query.get(name) == value for name, value in one.query if name == "symbol")
    ]
    return max(fitting, key=lambda one: _score(one, query), default=None)


def _score(recording: Recording, query: Mapping[str, str]) -> tuple[int, str]:
    return sum(query.get(name) == value for name, value in recording.query), recording.file.name
