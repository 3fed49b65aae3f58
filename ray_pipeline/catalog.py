"""Every batch job; each is one module with a `SPEC`."""

import difflib
from functools import cache

from ray_pipeline import jobs
from ray_pipeline.discovery import discover
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.providers.registry import all_providers


@cache
def all_jobs() -> tuple[JobSpec, ...]:
    """
    Return every batch job, sorted by name: each module of `jobs` that describes a dataset.

    Raises:
        PipelineError: If a module has no SPEC, two jobs have the same name, or a job names a
            provider that is not registered.
    """
    specs = discover(jobs, "SPEC", JobSpec, skip=jobs.VOCABULARY, guide="docs/jobs.md")
    for spec in specs:
        _check_providers(spec)
    return specs


def _check_providers(spec: JobSpec) -> None:
    # Settings, the ledger and the simulators find a provider by its name in the registry. A run
    # would fail only after its slot is claimed, so an unregistered provider is refused here.
    for source in spec.sources:
        if source.provider not in all_providers():
            name = source.provider.name
            raise PipelineError(
                f"job {spec.name} names the provider {name!r}, which is not registered",
                fix=f"define it as PROVIDER in ray_pipeline/providers/{name}.py and import it from "
                'there; see CONTRIBUTING.md, "Add a provider"',
            )


def job(name: str) -> JobSpec:
    """
    Return the job called `name`.

    Raises:
        PipelineError: If no job has this name; the fix suggests similar names.
    """
    by_name = {spec.name: spec for spec in all_jobs()}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise PipelineError(f"no job {name!r}", fix=f"{hint}`ray-pipeline jobs` lists them")
    return by_name[name]
