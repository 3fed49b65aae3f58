"""Why a batch dataset is fresh or not, and what would change that: one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.observe.freshness import missed_slot

ENDED = frozenset({"succeeded", "nothing_new", "failed", "refused"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    How fresh a dataset is.

    Attributes:
        name: The feed or job.
        fresh: Whether it is as new as it should be.
        sentence: Why, and what would change it.
    """

    name: str
    fresh: bool
    sentence: str


def explain(
    spec: JobSpec,
    last: Mapping[str, Any] | None,
    *,
    now: datetime,
    keys: Mapping[str, int],
    scheduled: bool = True,
) -> Explanation:
    """
    Explain why a job's tables are fresh or not.

    Args:
        spec: The job.
        last: The row of its newest run; None if it never ran.
        now: The time.
        keys: How many keys each provider has.
        scheduled: Whether a scheduler starts its runs.
    """
    next_run = "on request only" if spec.manual else _minute(spec.schedule.next(now))
    # The order matters: without a key no run can happen, and an old success hides a missed slot.
    fresh, text = False, ""
    if missing := _missing_key(spec, keys):
        text = f"is not collected: {missing}"
    elif last is None:
        text = f"has never run; {_how_to_run(spec, scheduled, next_run)}"
    elif due := missed_slot(
        None if spec.manual else spec.schedule.latest(now),
        last_slot=last["slot"],
        ended=last["state"] in ENDED,
        now=now,
    ):
        text = (
            f"has not run for {_minute(due)}; its last run was for "
            f"{last['slot']:%Y-%m-%d %H:%M}; {_how_to_run(spec, scheduled, next_run)}"
        )
    else:
        fresh = last["state"] in {"succeeded", "nothing_new"}
        text = _by_state(spec.name, last, next_run)
    return Explanation(spec.name, fresh, f"{spec.name} {text}.")


def _by_state(name: str, last: Mapping[str, Any], next_run: str) -> str:
    why = last["why"] or "no reason was given"
    match last["state"]:
        case "succeeded" | "nothing_new" as state:
            result = "found nothing new" if state == "nothing_new" else "succeeded"
            when = _minute(last["finished_at"]) if last["finished_at"] else "just now"
            note = f" ({why})" if last["why"] else ""
            return f"is fresh: it {result} at {when}{note}; next: {next_run}"
        case "claimed" | "running":
            items = f"{last['items_done']} of {last['items']} items"
            return f"is running now: {items if last['items'] else 'just begun'}"
        case "deferred":
            until = _minute(last["not_before"]) if last["not_before"] else "later"
            return f"goes on at {until}: {why}; another key would let it go on sooner"
        case "refused":
            return f"was refused: {why}; check the key and the plan, then `ray-pipeline run {name}`"
    return (
        f"failed (attempt {last['attempt']}): {why}; it is tried again by itself, or now "
        f"with `ray-pipeline run {name} --slot {last['slot'].isoformat()}`"
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _missing_key(spec: JobSpec, keys: Mapping[str, int]) -> str:
    if not spec.sources or spec.usable_sources(keys):
        return ""
    providers = [source.provider for source in spec.sources]
    names = " or ".join(provider.title for provider in providers)
    return (
        f"no key for {names}; get one at {providers[0].key_url} and add it to PIPELINE_API_KEYS as "
        f'{{"{providers[0].name}": ["..."]}}'
    )


def _how_to_run(spec: JobSpec, scheduled: bool, next_run: str) -> str:
    command = f"`ray-pipeline run {spec.name}`"
    if spec.manual:
        return f"it runs on request: {command}"
    if not scheduled:
        return f"no scheduler is at work: start `ray-pipeline up`, or {command}"
    return f"next: {next_run}, or now with {command}"
