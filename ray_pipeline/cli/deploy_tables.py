"""Plans, installations and sizes for the terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ray_pipeline.cli.tables import table
from ray_pipeline.kubernetes.deploy.diff import Change, State
from ray_pipeline.kubernetes.deploy.installation import ObjectStatus
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
            yield f"    and {len(change.fields) - MOST_FIELDS} more fields (--json shows all)"


def summary(changes: Sequence[Change], host: str) -> str:
    """Return one line that counts the changes."""
    counts = Counter(change.state for change in changes)
    shown = ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
    return f"{host}: {shown or 'nothing'}"


def render_statuses(
    last: Revision, history: Sequence[Revision], statuses: Sequence[ObjectStatus]
) -> RenderableType:
    """Return the objects of an installation, the reasons of delays, and the revisions."""
    objects = table(f"Revision {last.number}, {last.state}", "object", "state", "detail")
    for status in statuses:
        objects.add_row(str(status.ref), status.readiness.state, status.readiness.detail)
    reasons = [Text(f"! {finding}") for status in statuses for finding in status.findings]
    older = table("Revisions", ">number", "state", "at", "from")
    for revision in sorted(history, key=lambda revision: -revision.number)[:MOST_REVISIONS]:
        older.add_row(str(revision.number), revision.state, revision.at, revision.source)
    return Group(objects, *reasons, older)


def sizing_as_json(profile: str, pods: Sequence[Need]) -> dict[str, object]:
    """Return the sizes as data; memory in bytes, CPU in thousandths of a core."""
    available = servers()
    unschedulable = _fit(pods, "upgrade").unschedulable
    return {
        "profile": profile,
        "always": _total(_during(pods, "always")),
        "upgrade": _total(_during(pods, "upgrade")),
        "run": _total([need for need in pods if need.when == "run"]),
        "available": {
            "cpu_m": sum(server.cpu_m for server in available),
            "memory_bytes": sum(server.memory_bytes for server in available),
        },
        "fits": not unschedulable,
        "unschedulable": list(unschedulable),
    }


def render_needs(profile: str, pods: Sequence[Need]) -> RenderableType:
    """Return one line per kind of pod, the sums, and the space left on the servers."""
    lines = table(
        f"{profile}: requests of the pods", "pod", ">pods", ">MiB each", ">CPU each", ">MiB",
        ">CPU", "when",
    )  # fmt: skip
    for need in pods:
        lines.add_row(
            need.name, str(need.pods), _mib(need.memory_bytes), _cores(need.cpu_m),
            _mib(need.all_memory_bytes), _cores(need.all_cpu_m), need.when,
        )  # fmt: skip
    lines.add_section()
    for when, label in (("always", "always"), ("upgrade", "during an upgrade")):
        total = _total(_during(pods, when))
        lines.add_row(
            f"sum, {label}", str(total["pods"]), "", "", _mib(total["memory_bytes"]),
            _cores(total["cpu_m"]), "",
        )  # fmt: skip
    return Group(lines, _render_servers(pods))


def _render_servers(pods: Sequence[Need]) -> RenderableType:
    steady, peak = _fit(pods, "always"), _fit(pods, "upgrade")
    lines = table(
        "Five servers of 4 cores and 8 GB", "server", ">MiB for pods", ">left",
        ">left in an upgrade", ">CPU left", ">CPU left in an upgrade",
    )  # fmt: skip
    for before, now, then in zip(servers(), steady.left, peak.left, strict=True):
        lines.add_row(
            before.name, _mib(before.memory_bytes), _mib(now.memory_bytes), _mib(then.memory_bytes),
            _cores(now.cpu_m), _cores(then.cpu_m),
        )  # fmt: skip
    return Group(lines, Text(_verdict(steady, peak)))


def _verdict(steady: Fit, peak: Fit) -> str:
    if steady.unschedulable:
        return f"It does not fit: no server has room for {', '.join(steady.unschedulable)}."
    if peak.unschedulable:
        return f"It fits, but an upgrade does not: no room for {', '.join(peak.unschedulable)}."
    return "It fits, and so does an upgrade, in which some pods run twice."


def _during(pods: Sequence[Need], when: str) -> list[Need]:
    return [need for need in pods if need.when in {"always", when}]


def _fit(pods: Sequence[Need], when: str) -> Fit:
    return fit(_during(pods, when), servers())


def _total(pods: Sequence[Need]) -> dict[str, int]:
    return {
        "pods": sum(need.pods for need in pods),
        "cpu_m": sum(need.all_cpu_m for need in pods),
        "memory_bytes": sum(need.all_memory_bytes for need in pods),
    }


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.0f}"


def _cores(cpu_m: int) -> str:
    return f"{cpu_m / 1000:.2f}"
