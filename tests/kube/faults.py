"""Delete pods under load, and measure what each fault costs."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from tests.kube.cache import CACHE
from tests.kube.cluster import is_ready, kubectl, pods, until
from tests.kube.feeds import gap_count, longest_pauses, wait_for_fresh_rows
from tests.kube.oracle import compare

REPORT = CACHE / "faults.jsonl"
BACK_S = 420.0


@dataclass(slots=True)
class Cost:
    """
    What a fault cost.

    Attributes:
        ready_s: Seconds until the pods of the label were ready again.
        pauses: Feed -> seconds without a received record, of its worst shard.
        gaps: Rows of `gaps` that were recorded.
        lost, unexplained, doubled: Records, by the logs of the venues: lost in a recorded gap, lost
            without one, stored more often than sent.
    """

    profile: str
    fault: str
    ready_s: float = 0.0
    pauses: dict[str, float] = field(default_factory=dict)
    gaps: int = 0
    lost: int = 0
    unexplained: int = 0
    doubled: int = 0
    violations: list[str] = field(default_factory=list)


def measure(cost: Cost, inject: Callable[[], None], is_over: Callable[[], bool]) -> Cost:
    """Inject a fault into a healthy installation, wait until it is over, and add its cost."""
    wait_for_fresh_rows()
    start_s = time.time()
    inject()
    until(is_over, timeout_s=BACK_S, expected=f"recovery from: {cost.fault}")
    cost.ready_s = time.time() - start_s
    wait_for_fresh_rows()
    cost.pauses = {pause.feed: pause.seconds for pause in longest_pauses(start_s - 1.0)}
    verdict = compare(start_s - 1.0, time.time())
    cost.gaps = gap_count(start_s)
    cost.lost, cost.unexplained = verdict.explained, verdict.unexplained
    cost.doubled = verdict.duplicates + verdict.unknown
    cost.violations = verdict.violations
    with REPORT.open("a") as report:
        report.write(json.dumps(asdict(cost)) + "\n")
    return cost


def measure_deletion(profile: str, selector: str, *, force: bool = False) -> Cost:
    """Delete one pod of a label and wait until as many pods as before are ready."""
    expected = len(pods(selector))
    assert expected, f"no pod has the labels {selector}"
    name = pods(selector)[0]["metadata"]["name"]
    old = {pod["metadata"]["uid"] for pod in pods(selector)}
    options = ["--force", "--grace-period=0"] if force else []

    def is_over() -> bool:
        ready = [pod for pod in pods(selector) if is_ready(pod)]
        replaced = {pod["metadata"]["uid"] for pod in ready} - old
        return len(ready) == expected and bool(replaced)

    fault = f"{'kill' if force else 'delete'} {selector.rpartition('=')[2]}"
    return measure(
        Cost(profile, fault),
        lambda: kubectl("delete", "pod", name, "--wait=false", *options) and None,
        is_over,
    )


def table() -> str:
    """Return the measurements as a table of Markdown."""
    lines = [
        "| profile | fault | ready again | longest pause of a feed | gaps | lost in a gap "
        "| lost without a gap | doubled |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in REPORT.read_text().splitlines() if REPORT.exists() else ():
        cost = Cost(**json.loads(line))
        feed, pause_s = max(cost.pauses.items(), key=lambda item: item[1])
        lines.append(
            f"| {cost.profile} | {cost.fault} | {cost.ready_s:.0f} s | {pause_s:.1f} s ({feed}) "
            f"| {cost.gaps} | {cost.lost} | {cost.unexplained} | {cost.doubled} |"
        )
    return "\n".join(lines)
