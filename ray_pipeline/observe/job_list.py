"""The batch datasets as rows: what each contains, when it runs, and its newest run."""

import inspect
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ray_pipeline.catalog import all_jobs
from ray_pipeline.jobs.spec import Empty, JobSpec, Source


def job_facts(spec: JobSpec, *, now: datetime) -> dict[str, Any]:
    """Return a job's sources, tables and schedule, and when it is due next."""
    return {
        "name": spec.name,
        "title": spec.title,
        "sources": [source.provider.name for source in spec.sources],
        "tables": spec.table_names,
        "schedule": None if spec.manual else spec.schedule.expression,
        "zone": spec.schedule.zone,
        "next": None if spec.manual else spec.schedule.next(now),
    }


def meaning_of_empty(source: Source) -> str:
    """Return what a source declares about answers without rows, in words."""
    if isinstance(source.empty, Empty):
        return source.empty.value
    rule = " ".join((inspect.getdoc(source.empty) or "").split()).removeprefix("Return ")
    for meaning in Empty:
        rule = rule.replace(meaning.name, meaning.value)
    return rule.removesuffix(".")


def job_rows(last: Mapping[str, Mapping[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """Return every job by name; `last` holds the newest run of each job that has one."""
    return [job_facts(spec, now=now) | {"last": last.get(spec.name)} for spec in all_jobs()]
