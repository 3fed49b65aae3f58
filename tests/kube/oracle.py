"""Compare what the venue sent with what the cluster stored: rows, dead letters and gaps."""

import base64
import json
import os
import time
import urllib.request
from pathlib import Path

from tests.chaos.sent_log import SentLog, read_log
from tests.chaos.stored import read_facts, receipts
from tests.chaos.verify import FaultWindow, Verdict, judge, missing_trades
from tests.kube.cache import FINNHUB, STATE
from tests.kube.cluster import forwarded, read, sql, until
from tests.kube.providers import CONTROL_PORT

SP500_SHARDS = frozenset({1, 2})
CONTROL = f"http://{FINNHUB}:{CONTROL_PORT}/control"
SETTLE_S = 120.0
# How often, and after how many seconds, missing gaps are looked for again.
GAP_TRIES, GAP_S = 4, 20.0
LOG_START = STATE / "sent.start"


def control(action: str, **arguments: object) -> None:
    """Request a fault of the venue, or the end of one."""
    request = urllib.request.Request(
        f"{CONTROL}/{action}",
        data=json.dumps(arguments).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10.0).close()


def compare(since_s: float, until_s: float) -> Verdict:
    """
    Compare the trades of the S&P 500: losses since a time, doubled ones since the installation.

    The venue pauses meanwhile, so that everything that was sent can arrive. A gap between the two
    times is not judged: a fault of the test was active then.
    """
    fault = FaultWindow(since_s, until_s, SP500_SHARDS)
    verdict = _pause_and_judge(fault)
    for _ in range(GAP_TRIES):
        if not verdict.unexplained:
            break
        # A producer records the gap before its first record only after its symbols have sent data.
        time.sleep(GAP_S)
        verdict = _pause_and_judge(fault)
    return verdict


def _pause_and_judge(fault: FaultWindow) -> Verdict:
    control("pause")
    try:
        _wait_until_settled()
        return _judge(_sent_log(), fault)
    finally:
        control("resume")


def _judge(log: SentLog, fault: FaultWindow) -> Verdict:
    with forwarded("pod/postgres-0", 5432) as port:
        dsn = f"postgresql://pipeline:{_password()}@127.0.0.1:{port}/pipeline"
        facts = read_facts(dsn, _same_time)
        missing = [item for item in missing_trades(log, facts) if item.trade.at_s >= fault.from_s]
        keys = {item.before.key for item in missing if item.before}
        return judge(log, facts, missing, receipts(dsn, keys, _same_time), [fault])


def _same_time(_: int, at_s: float) -> float:
    return at_s


def _wait_until_settled() -> None:
    counts: list[int] = []

    def has_settled() -> bool:
        counts.append(int(sql("SELECT count(*) FROM sp500_websocket_trades")[0][0]))
        # Records may wait for Kafka or for Postgres: several seconds without a new row.
        return len(counts) > 10 and len(set(counts[-10:])) == 1

    until(has_settled, timeout_s=SETTLE_S, expected="no new rows of a paused venue")


def begin_log() -> None:
    """Leave out what the venue has sent to an earlier installation."""
    LOG_START.write_text(str(_log_path().stat().st_size))


def _log_path() -> Path:
    return Path(os.environ["KUBE_TEST_PROVIDERS"]) / "sent.log"


def _sent_log() -> SentLog:
    """Return the log of the connections of the S&P 500; other feeds use the same venue."""
    copy = STATE / "sent-sp500.log"
    shards = {str(shard) for shard in SP500_SHARDS}
    with _log_path().open() as lines, copy.open("w") as filtered:
        lines.seek(int(LOG_START.read_text()))
        # The venue is writing: the last line may be incomplete.
        complete = (line for line in lines if line.endswith("\n"))
        filtered.writelines(line for line in complete if line.split(" ", 4)[3].strip() in shards)
    return read_log(copy)


def _password() -> str:
    secret = read("get", "secret", "postgres-password")
    return base64.b64decode(secret["data"]["password"]).decode()
