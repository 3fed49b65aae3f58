"""Recorded answers: a folder with a manifest that names the request of each answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from ray_pipeline.providers.registry import provider_names
from ray_pipeline.simulators.bodies import simulated

CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": "application/x-download",
    ".html": "text/html",
}
# Parameters that distinguish the answers of one endpoint. Others may differ from the recording's.
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
        """The type with which the answer was sent."""
        return CONTENT_TYPES.get(self.file.suffix, "text/plain")

    def read(self) -> str:
        """Return the body."""
        return self.file.read_text()


def read_recordings(folder: Path) -> list[Recording]:
    """
    Return the answers in the manifest of a folder to GET requests, if their status is 200.

    Raises:
        OSError: If the manifest cannot be read.
    """
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    providers = {simulated(name).recordings or name: name for name in provider_names()}
    return [
        recording for line in lines for recording in _entry(folder, json.loads(line), providers)
    ]


def _entry(
    folder: Path, facts: Mapping[str, object], providers: Mapping[str, str]
) -> Iterator[Recording]:
    method, _, target = str(facts.get("req") or "").partition(" ")
    name = str(facts["file"])
    if method != "GET" or not target.startswith("/") or facts.get("status") != 200:
        return
    if Path(name).name.startswith(("error_", "empty_", "headers_")):
        return
    parts = urlsplit(target.split()[0])
    subfolder = name.split("/", 1)[0]
    query = tuple(pair for pair in parse_qsl(parts.query) if pair[0] not in IGNORED)
    yield Recording(providers.get(subfolder, subfolder), parts.path, query, folder / name, 200)


def find(
    recordings: Sequence[Recording], provider: str, path: str, query: Mapping[str, str]
) -> Recording | None:
    """Return the recording that matches a request best; None if no recording matches."""
    matching = [
        recording
        for recording in recordings
        if recording.provider == provider
        and (
            recording.path == path or recording.path.endswith(path) or path.endswith(recording.path)
        )
        and all(query.get(name) == value for name, value in recording.query if name in SELECTING)
        and all(name in dict(recording.query) for name in query if name in {"symbol", "function"})
        and all(query.get(name) == value for name, value in recording.query if name == "symbol")
    ]
    return max(matching, key=lambda recording: _score(recording, query), default=None)


def _score(recording: Recording, query: Mapping[str, str]) -> tuple[int, str]:
    return sum(query.get(name) == value for name, value in recording.query), recording.file.name
