"""The table of a run."""

from collections.abc import Sequence
from statistics import median

from tests.chaos.faults import Injected
from tests.chaos.run import Result


def table(result: Result) -> str:
    """Return the result as Markdown."""
    verdict = result.verdict
    rows = [_row(kind, faults) for kind, faults in _by_kind(result.faults).items()]
    return "\n".join(
        [
            "| fault | times | recovery p50, s | recovery max, s |",
            "|---|---|---|---|",
            *rows,
            _row("all", result.faults),
            "",
            "| sent | stored | parked | missing, explained by a gap | missing, unexplained "
            "| duplicates | never sent | gaps | untrue gaps |",
            "|---|---|---|---|---|---|---|---|---|",
            f"| {verdict.sent:,} | {verdict.stored:,} | {verdict.parked:,} | {verdict.explained:,} "
            f"| {verdict.unexplained:,} | {verdict.duplicates:,} | {verdict.unknown:,} "
            f"| {verdict.gaps:,} | {verdict.false_gaps:,} |",
            "",
            f"Providers received {result.calls:,} calls.",
        ]
    )


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
