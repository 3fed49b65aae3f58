"""Every feed and every batch job there is: one module with a `SPEC` each."""

import difflib
import importlib
import pkgutil
from functools import cache

from ray_pipeline import jobs
from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds import bithumb, sp500, top_gainers
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.jobs.spec import JobSpec

FEEDS: tuple[FeedSpec, ...] = (sp500.SPEC, bithumb.SPEC, top_gainers.SPEC)


def feed(name: str) -> FeedSpec:
    """
    Return the feed called `name`.

    Raises:
        KeyError: If there is none.
    """
    by_name: dict[str, FeedSpec] = {spec.name: spec for spec in FEEDS}
    return by_name[name]


@cache
def all_jobs() -> tuple[JobSpec, ...]:
    """
    Return every batch job, by name: each module of `jobs` that describes a dataset.

    Raises:
        PipelineError: If a module has no SPEC, or two jobs have one name.
    """
    found: dict[str, JobSpec] = {}
    for module in pkgutil.iter_modules(jobs.__path__):
        if module.name.startswith("_") or module.name in jobs.VOCABULARY:
            continue
        spec = getattr(importlib.import_module(f"{jobs.__name__}.{module.name}"), "SPEC", None)
        if not isinstance(spec, JobSpec):
            raise PipelineError(f"jobs/{module.name}.py has no SPEC", fix="see docs/jobs.md")
        if spec.name in found:
            raise PipelineError(f"two jobs are called {spec.name}", fix="rename one")
        found[spec.name] = spec
    return tuple(found[name] for name in sorted(found))


def job(name: str) -> JobSpec:
    """
    Return the job called `name`.

    Raises:
        PipelineError: If there is none; the fix names the nearest.
    """
    by_name = {spec.name: spec for spec in all_jobs()}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise PipelineError(f"no job {name!r}", fix=f"{hint}`ray-pipeline jobs` lists them")
    return by_name[name]


def jobs_of_table(table: str) -> tuple[JobSpec, ...]:
    """Return the jobs that write a table."""
    return tuple(spec for spec in all_jobs() if any(one.name == table for one in spec.tables))
