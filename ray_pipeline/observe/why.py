"""Why a dataset is not fresh, and what would change that: one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ray_pipeline.jobs.spec import JobSpec

GRACE = timedelta(minutes=15)  # a slot may be this late before anybody asks


@dataclass(frozen=True, slots=True)
class Why:
    """
    How fresh a dataset is.

    Attributes:
        fresh: Whether the newest slot that was due has been collected.
        sentence: Why, and what would change it.
    """

    job: str
    fresh: bool
    sentence: str


def explain(
    spec: JobSpec,
    last: Mapping[str, Any] | None,
    *,
    now: datetime,
    keys: Mapping[str, int],
    scheduled: bool = True,
) -> Why:
    """
    Say why a job's tables are fresh or not.

    Args:
        spec: The job.
        last: The row of its newest run; None where it never ran.
        now: The time.
        keys: How many keys each provider has.
        scheduled: Whether a scheduler is at work for it.
    """
    name = spec.name
    if missing := _missing_key(spec, keys):
        return Why(name, False, f"{name} is not collected: {missing}.")
    due = None if spec.manual else spec.schedule.latest(now)
    following = (
        "on request only" if spec.manual else f"{spec.schedule.next(now):%Y-%m-%d %H:%M} UTC"
    )
    if last is None:
        return Why(name, False, f"{name} has never run; {_how_to_run(spec, scheduled, following)}.")
    if due is not None and last["slot"] < due and now - due > GRACE and _ended(last):
        return Why(
            name,
            False,
            f"{name} has not run for {due:%Y-%m-%d %H:%M} UTC; its last run was for "
            f"{last['slot']:%Y-%m-%d %H:%M}; {_how_to_run(spec, scheduled, following)}.",
        )
    return _by_state(spec, last, following)


def _by_state(spec: JobSpec, last: Mapping[str, Any], following: str) -> Why:
    name, why = spec.name, last["why"] or "no reason was given"
    state = last["state"]
    if state in {"succeeded", "nothing_new"}:
        found = "found nothing new" if state == "nothing_new" else "succeeded"
        when = f"{last['finished_at']:%Y-%m-%d %H:%M} UTC" if last["finished_at"] else "just now"
        rest = f" ({why})" if last["why"] else ""
        return Why(name, True, f"{name} is fresh: it {found} at {when}{rest}; next: {following}.")
    if state in {"claimed", "running"}:
        done = f"{last['items_done']} of {last['items']} items" if last["items"] else "just begun"
        return Why(name, False, f"{name} is running now: {done}.")
    if state == "deferred":
        until = f"{last['not_before']:%Y-%m-%d %H:%M} UTC" if last["not_before"] else "later"
        return Why(
            name, False, f"{name} goes on at {until}: {why}; another key would let it go on sooner."
        )
    if state == "refused":
        return Why(
            name,
            False,
            f"{name} was refused: {why}; check the key and the plan, then "
            f"`ray-pipeline run {name}`.",
        )
    return Why(
        name,
        False,
        f"{name} failed (attempt {last['attempt']}): {why}; it is tried again by itself, or now "
        f"with `ray-pipeline run {name} --slot {last['slot'].isoformat()}`.",
    )


def _ended(last: Mapping[str, Any]) -> bool:
    return last["state"] in {"succeeded", "nothing_new", "failed", "refused"}


def _missing_key(spec: JobSpec, keys: Mapping[str, int]) -> str:
    if not spec.sources or spec.usable_sources(keys):
        return ""
    providers = [source.provider for source in spec.sources]
    names = " or ".join(provider.title for provider in providers)
    return (
        f"no key for {names}; get one at {providers[0].key_url} and add it to PIPELINE_API_KEYS as "
        f'{{"{providers[0].name}": ["..."]}}'
    )


def _how_to_run(spec: JobSpec, scheduled: bool, following: str) -> str:
    if spec.manual:
        return f"it runs on request: `ray-pipeline run {spec.name}`"
    if not scheduled:
        return (
            f"no scheduler is at work: start `ray-pipeline up`, or `ray-pipeline run {spec.name}`"
        )
    return f"next: {following}, or now with `ray-pipeline run {spec.name}`"
