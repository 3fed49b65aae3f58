"""How plans, releases and sizes look in a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ray_pipeline.cli.tables import table
from ray_pipeline.kubernetes.deploy.diff import Change, State
from ray_pipeline.kubernetes.deploy.release import ObjectStatus
from ray_pipeline.kubernetes.deploy.revisions import Revision
from ray_pipeline.kubernetes.deploy.sizing import MIB, Fit, Need, fit, servers

MARKS: dict[State, str] = {
    "created": "+", "changed": "~", "replaced": "-/+", "unchanged": "=", "removed": "-",
    "conflict": "!", "refused": "!",
}  # fmt: skip
MOST_FIELDS = 40  # of one object
MOST_REVISIONS = 5


def plan_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Yield the plan, one line per object and per field that changes."""
    for change in changes:
        if change.state == "unchanged" and not change.note:
            continue
        yield f"{MARKS[change.state]} {change.ref}"
        if change.note:
            yield "    " + change.note.replace("\n", "\n    ")
        for field in change.fields[:MOST_FIELDS]:
            yield f"    {field.path}: {field.before} -> {field.after}"
        if len(change.fields) > MOST_FIELDS:
            yield f"    and {len(change.fields) - MOST_FIELDS} fields more (--json shows all)"


def summary(changes: Sequence[Change], host: str) -> str:
    """Return one line that counts the changes."""
    counts = Counter(change.state for change in changes)
    told = ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
    return f"{host}: {told or 'nothing'}"


def render_statuses(
    last: Revision, history: Sequence[Revision], found: Sequence[ObjectStatus]
) -> RenderableType:
    """Return every object of a release, then why some are not ready, then the revisions."""
    objects = table(f"Revision {last.number}, {last.state}", "object", "state", "detail")
    for one in found:
        objects.add_row(str(one.ref), one.readiness.state, one.readiness.detail)
    why = [Text(f"! {finding}") for one in found for finding in one.findings]
    older = table("Revisions", ">number", "state", "at", "from")
    for revision in sorted(history, key=lambda one: -one.number)[:MOST_REVISIONS]:
        older.add_row(str(revision.number), revision.state, revision.at, revision.source)
    return Group(objects, *why, older)


def sizing_as_json(profile: str, wanted: Sequence[Need]) -> dict[str, object]:
    """Return the sizes as data; memory in bytes, CPU in thousandths of a core."""
    available = servers()
    return {
        "profile": profile,
        "always": _total(_during(wanted, "always")),
        "upgrade": _total(_during(wanted, "upgrade")),
        "run": _total([need for need in wanted if need.when == "run"]),
        "available": {
            "cpu_m": sum(one.cpu_m for one in available),
            "memory_bytes": sum(one.memory_bytes for one in available),
        },
        "fits": not _fit(wanted, "upgrade").homeless,
        "homeless": list(_fit(wanted, "upgrade").homeless),
    }


def render_needs(profile: str, wanted: Sequence[Need]) -> RenderableType:
    """Return one line per kind of pod, the sums, and how they fit on the servers."""
    made = table(
        f"{profile}: what the pods ask for", "what", ">pods", ">MiB each", ">CPU each", ">MiB",
        ">CPU", "when",
    )  # fmt: skip
    for need in wanted:
        made.add_row(
            need.name, str(need.pods), _mib(need.memory_bytes), _cores(need.cpu_m),
            _mib(need.all_memory_bytes), _cores(need.all_cpu_m), need.when,
        )  # fmt: skip
    made.add_section()
    for when, label in (("always", "always"), ("upgrade", "during an upgrade")):
        total = _total(_during(wanted, when))
        made.add_row(
            f"sum, {label}", str(total["pods"]), "", "", _mib(total["memory_bytes"]),
            _cores(total["cpu_m"]), "",
        )  # fmt: skip
    return Group(made, _render_servers(wanted))


def _render_servers(wanted: Sequence[Need]) -> RenderableType:
    steady, peak = _fit(wanted, "always"), _fit(wanted, "upgrade")
    made = table(
        "Five servers of 4 cores and 8 GB", "server", ">MiB for pods", ">left",
        ">left in an upgrade", ">CPU left", ">CPU left in an upgrade",
    )  # fmt: skip
    for before, now, then in zip(servers(), steady.left, peak.left, strict=True):
        made.add_row(
            before.name, _mib(before.memory_bytes), _mib(now.memory_bytes), _mib(then.memory_bytes),
            _cores(now.cpu_m), _cores(then.cpu_m),
        )  # fmt: skip
    return Group(made, Text(_verdict(steady, peak)))


def _verdict(steady: Fit, peak: Fit) -> str:
    if steady.homeless:
        return f"It does not fit: no server has room for {', '.join(steady.homeless)}."
    if peak.homeless:
        return f"It fits, but an upgrade does not: no room for {', '.join(peak.homeless)}."
    return "It fits, and so does an upgrade, with what runs twice meanwhile."


def _during(wanted: Sequence[Need], when: str) -> list[Need]:
    return [need for need in wanted if need.when in {"always", when}]


def _fit(wanted: Sequence[Need], when: str) -> Fit:
    return fit(_during(wanted, when), servers())


def _total(wanted: Sequence[Need]) -> dict[str, int]:
    return {
        "pods": sum(need.pods for need in wanted),
        "cpu_m": sum(need.all_cpu_m for need in wanted),
        "memory_bytes": sum(need.all_memory_bytes for need in wanted),
    }


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.0f}"


def _cores(cpu_m: int) -> str:
    return f"{cpu_m / 1000:.2f}"
