"""
The corpus of the fuzz runs: every frame and every answer that was recorded from a provider.

The recordings lie beside the repository. Without them the corpus has documented frames only, and
the answers of the simulators.

The corpus says what each frame is. No ticker of Upbit is recorded, only trades and order books of
2021: its ticker here has the fields and number formats of Upbit's documentation.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.simulators.bodies import simulated
from ray_pipeline.simulators.recorded import CONTENT_TYPES

Kind = Literal["recorded", "documented"]
# The files with frames, by venue.
FRAME_FILES = {
    "finnhub": (
        "finnhub/ws_trades_AAPL_2023-03-31_8frames.jsonl",
        "finnhub/ws_trades_stocks_2021_2024.jsonl",
        "finnhub/ws_control_frames.jsonl",
        "finnhub/ws_doc_examples.jsonl",
    ),
    "bithumb": (
        "bithumb/ws_frames_cut_2026-09-23.jsonl",
        "bithumb/ws_errors.jsonl",
        "bithumb/legacy_ws_frames_2021-06-01.jsonl",
        "bithumb/ws_ticker_doc.json",
        "bithumb/ws_trade_doc.json",
        "bithumb/ws_errors_doc.jsonl",
    ),
    "upbit": (
        "bithumb/upbit_ws_trade_simple_2021-04-17.jsonl",
        "bithumb/upbit_ws_orderbook_simple_2021-04-17.jsonl",
    ),
}
DOCUMENTED = {
    "finnhub": (
        b'{"data":[{"c":["1","24"],"p":7296.89,"s":"KRW-BTC","t":1575526691134,"v":0.011467}],'
        b'"type":"trade"}',
    ),
    "bithumb": (
        b'{"type":"ticker","code":"KRW-BTC","trade_price":493100,"trade_date":"20240910",'
        b'"trade_time":"091617","trade_timestamp":1725927377820,"trade_volume":1.2567,'
        b'"acc_trade_volume":225.622,"delisting_date":null,"timestamp":1725927377931,'
        b'"stream_type":"REALTIME"}',
    ),
    "upbit": (
        b'{"type":"ticker","code":"KRW-BTC","opening_price":45100000.00000000,'
        b'"high_price":45900000.00000000,"low_price":44800000.00000000,"trade_price":45500000.0,'
        b'"prev_closing_price":45100000.00000000,"acc_trade_price":91234567890.12340000,'
        b'"change":"RISE","change_price":400000.00000000,"signed_change_price":400000.00000000,'
        b'"change_rate":0.0088691796,"signed_change_rate":0.0088691796,"ask_bid":"ASK",'
        b'"trade_volume":0.0314,"acc_trade_volume":2011.5,"trade_date":"20240910",'
        b'"trade_time":"001617","trade_timestamp":1725927377820,"acc_ask_volume":1000.25,'
        b'"acc_bid_volume":1011.25,"highest_52_week_price":99000000.00000000,'
        b'"highest_52_week_date":"2024-03-14","lowest_52_week_price":35000000.00000000,'
        b'"lowest_52_week_date":"2023-10-01","market_state":"ACTIVE",'
        b'"is_trading_suspended":false,"delisting_date":null,"market_warning":"NONE",'
        b'"timestamp":1725927377931,"acc_trade_price_24h":191234567890.12340000,'
        b'"acc_trade_volume_24h":4023.1234,"stream_type":"SNAPSHOT"}',
    ),
}


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame, and where it comes from."""

    body: bytes
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An answer over REST; `file` is its name below the folder of the recordings."""

    file: str
    provider: str
    path: str
    status: int
    content_type: str
    folder: Path

    def read(self) -> bytes:
        """Return the body."""
        return (self.folder / self.file).read_bytes()


def frames_of_venue(feed: Feed, payloads: Path) -> list[RecordedFrame]:
    """Return the frames of the venue of a feed: the recorded ones first, then documented ones."""
    recorded: list[RecordedFrame] = []
    for name in FRAME_FILES[feed.simulator] if payloads.exists() else ():
        kind: Kind = "documented" if "_doc" in name else "recorded"
        lines = (payloads / name).read_bytes().splitlines()
        recorded += [RecordedFrame(line, kind, name) for line in lines if line]
    documented = [
        RecordedFrame(body, "documented", f"the documentation of {feed.simulator}")
        for body in DOCUMENTED[feed.simulator]
    ]
    return sorted([*recorded, *documented], key=lambda frame: frame.kind != "recorded")


@cache
def recorded_answers(payloads: Path) -> tuple[RecordedAnswer, ...]:
    """Return every recorded answer over REST, with refusals and documented examples."""
    if not payloads.exists():
        return ()
    lines = (payloads / "manifest.jsonl").read_text().splitlines()
    return tuple(_answers(payloads, [json.loads(line) for line in lines]))


def _answers(payloads: Path, entries: Sequence[dict[str, object]]) -> Iterator[RecordedAnswer]:
    providers = {simulated(name).recordings or name: name for name in provider_names()}
    frames = {name for names in FRAME_FILES.values() for name in names}
    for entry in entries:
        name = str(entry["file"])
        folder = name.partition("/")[0]
        if name in frames or folder not in providers:
            continue  # ticks are trades without frames; see tests/integration/test_recorded_input
        request = str(entry.get("req") or "").split()
        yield RecordedAnswer(
            file=name,
            provider=providers[folder],
            path=next((word for word in request if "/" in word), "").partition("?")[0],
            status=int(str(entry.get("status") or 200)),
            content_type=CONTENT_TYPES.get(Path(name).suffix, "text/plain"),
            folder=payloads,
        )


def answers_of_job(spec: JobSpec, payloads: Path) -> list[RecordedAnswer]:
    """
    Return the recorded answers of the providers of a job.

    An answer of another endpoint belongs to the corpus, too: providers have sent the wrong
    document.
    """
    names = {source.provider.name for source in spec.sources}
    return [answer for answer in recorded_answers(payloads) if answer.provider in names]
