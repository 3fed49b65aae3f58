"""Compare what the venues sent with what the cluster stored: rows, dead letters and gaps."""

import base64
import json
import os
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ray_pipeline.feeds.feed_registry import FEEDS
from tests.chaos.sent_log import SentLog, read_log
from tests.chaos.stored import read_facts, receipts
from tests.chaos.venue import sent_log
from tests.chaos.verify import FaultWindow, Verdict, judge, missing_trades
from tests.kube.cache import BITHUMB, FINNHUB, STATE, UPBIT
from tests.kube.cluster import forwarded, read, until
from tests.kube.feeds import row_counts
from tests.kube.providers import CONTROL_PORT

VENUES = (FINNHUB, BITHUMB, UPBIT)
SETTLE_S = 120.0
# How often, and after how many seconds, missing gaps are looked for again.
GAP_TRIES, GAP_S = 4, 20.0
LOG_STARTS = STATE / "log-starts.json"
ANY_SHARD = frozenset(range(100))


def control(venue: str, action: str) -> None:
    """Request a fault of a venue, or its end."""
    url = f"http://{venue}:{CONTROL_PORT}/control/{action}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10.0).close()


def compare(since_s: float, until_s: float) -> Verdict:
    """
    Compare the records of every feed: losses since a time, doubled ones since the installation.

    The venues pause meanwhile, so that everything that was sent can arrive. A gap between the two
    times is not judged: a fault of the test was active then.
    """
    fault = FaultWindow(since_s, until_s, ANY_SHARD)
    verdict = _pause_and_judge(fault)
    for _ in range(GAP_TRIES):
        if not verdict.unexplained:
            break
        # A producer records the gap before its first record only after its symbols have sent data.
        time.sleep(GAP_S)
        verdict = _pause_and_judge(fault)
    return verdict


def _pause_and_judge(fault: FaultWindow) -> Verdict:
    for venue in VENUES:
        control(venue, "pause")
    try:
        _wait_until_settled()
        with forwarded("pod/postgres-0", 5432) as port:
            dsn = f"postgresql://pipeline:{_password()}@127.0.0.1:{port}/pipeline"
            # A log begins with the first connection of its feed.
            feeds = [feed.name for feed in FEEDS if sent_log(_directory(), feed.name).exists()]
            return _sum([_judge(dsn, feed, fault) for feed in feeds])
    finally:
        for venue in VENUES:
            control(venue, "resume")


def _judge(dsn: str, feed: str, fault: FaultWindow) -> Verdict:
    log = _sent_log(feed)
    facts = read_facts(dsn, feed, _same_time)
    missing = [item for item in missing_trades(log, facts) if item.trade.at_s >= fault.from_s]
    keys = {item.before.key for item in missing if item.before}
    return judge(log, facts, missing, receipts(dsn, feed, keys, _same_time), [fault])


def _sum(verdicts: Sequence[Verdict]) -> Verdict:
    return Verdict(
        explained=sum(verdict.explained for verdict in verdicts),
        unexplained=sum(verdict.unexplained for verdict in verdicts),
        duplicates=sum(verdict.duplicates for verdict in verdicts),
        unknown=sum(verdict.unknown for verdict in verdicts),
        violations=[text for verdict in verdicts for text in verdict.violations],
    )


def _same_time(_: int, at_s: float) -> float:
    return at_s


def _wait_until_settled() -> None:
    counts: list[int] = []

    def has_settled() -> bool:
        counts.append(sum(row_counts().values()))
        # Records may wait for Kafka or for Postgres: several seconds without a new row.
        return len(counts) > 10 and len(set(counts[-10:])) == 1

    until(has_settled, timeout_s=SETTLE_S, expected="no new rows of paused venues")


def begin_log() -> None:
    """Leave out what the venues have sent to an earlier installation."""
    sizes = {path.name: path.stat().st_size for path in _directory().glob("sent-*.log")}
    LOG_STARTS.write_text(json.dumps(sizes))


def _directory() -> Path:
    return Path(os.environ["KUBE_TEST_PROVIDERS"])


def _sent_log(feed: str) -> SentLog:
    """Return what the venue has sent for a feed since the installation."""
    path = sent_log(_directory(), feed)
    copy = STATE / path.name
    with path.open() as lines, copy.open("w") as complete:
        lines.seek(json.loads(LOG_STARTS.read_text()).get(path.name, 0))
        # The venue is writing: the last line may be incomplete.
        complete.writelines(line for line in lines if line.endswith("\n"))
    return read_log(copy)


def _password() -> str:
    secret = read("get", "secret", "postgres-password")
    return base64.b64decode(secret["data"]["password"]).decode()
