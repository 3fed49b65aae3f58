"""The table of a run."""

from collections.abc import Sequence
from statistics import median

from tests.chaos.faults import Injected
from tests.chaos.run import Result
from tests.chaos.verify import Verdict


def table(result: Result) -> str:
    """Return the result as Markdown."""
    rows = [_row(kind, faults) for kind, faults in _by_kind(result.faults).items()]
    return "\n".join(
        [
            "| fault | times | recovery p50, s | recovery max, s |",
            "|---|---|---|---|",
            *rows,
            _row("all", result.faults),
            "",
            "| feed | sent | stored | parked | missing | in gaps | unexplained | duplicates "
            "| never sent | gaps | untrue gaps |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *(_feed_row(feed, verdict) for feed, verdict in result.verdicts.items()),
            "",
            f"Providers received {result.calls:,} calls. {_slots(result)}",
        ]
    )


def _feed_row(feed: str, verdict: Verdict) -> str:
    counts = (
        verdict.sent,
        verdict.stored,
        verdict.parked,
        verdict.explained + verdict.unexplained,
        verdict.explained,
        verdict.unexplained,
        verdict.duplicates,
        verdict.unknown,
        verdict.gaps,
        verdict.false_gaps,
    )
    return f"| {feed} | {' | '.join(f'{count:,}' for count in counts)} |"


def _slots(result: Result) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(result.slots.items()))
    return f"Slots of scheduled jobs that were due: {result.slots.total()} ({states or 'none'})."


def _by_kind(faults: Sequence[Injected]) -> dict[str, list[Injected]]:
    kinds: dict[str, list[Injected]] = {}
    for fault in faults:
        kinds.setdefault(fault.planned.kind.name, []).append(fault)
    return dict(sorted(kinds.items()))


def _row(name: str, faults: Sequence[Injected]) -> str:
    times_s = [fault.recovery_s for fault in faults if fault.recovery_s is not None]
    if not times_s:
        return f"| {name} | {len(faults)} | | |"
    return f"| {name} | {len(faults)} | {median(times_s):.1f} | {max(times_s):.1f} |"
