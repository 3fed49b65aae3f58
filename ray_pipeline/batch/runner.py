"""
Run a batch job: choose the sources, collect what is due, and decide how the run ended.

The rows of an item and its progress are one transaction, so an interrupted run continues with the
item that was in flight. Nothing is kept for the end of a run.
"""

from ray_pipeline.batch.attempts import Deferred
from ray_pipeline.batch.circuit_breaker import CircuitOpen
from ray_pipeline.batch.collector import SourceCollector
from ray_pipeline.batch.outcome import Outcome, judge
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.jobs.spec import JobSpec, Request, Run

OWN_TABLES = "own tables"  # the source of a derived dataset


async def run_job(spec: JobSpec, run: Run, dependencies: Dependencies) -> Outcome:
    """
    Run a job and return how it ended. Stored rows and progress stay, however the run ends.

    If a source refuses every item, or answers without data, fall back to the next source. A job
    with `complete` collects from every source.

    Raises:
        DatabaseUnavailable: If Postgres is unavailable; the run may be repeated.
    """
    if spec.derive is not None:
        return await _derive(spec, run, dependencies)
    sources = spec.usable_sources(dependencies.keys)
    if not sources:
        return _no_key(spec)
    outcome = Outcome()
    refusals: list[str] = []
    failures: list[str] = []
    for source in sources:
        outcome.sources.append(source.provider.name)
        collector = SourceCollector(spec, run, source, dependencies=dependencies, outcome=outcome)
        try:
            await collector.run()
        except Deferred as deferral:
            if deferral.until is None and source is not sources[-1]:
                # No key of this source may be used, but another source has keys.
                refusals += [deferral.reason] if spec.complete else []
                continue
            return _deferred(outcome, deferral)
        except CircuitOpen as error:
            collector.failures.append(str(error))
        if not spec.complete:
            # The problems of a source that another one replaces do not count against the run.
            refusals, failures = [], []
        refusals += collector.refusals
        failures += collector.failures
        if not spec.complete and not (collector.lacks_data and outcome.items_done == 0):
            break
    if not refusals and not failures:
        # Rows are removed only after a whole collection: an item that failed may still exist.
        outcome.counts.changed += await dependencies.store.prune()
    judge(outcome, sweep=spec.sweep, refusals=refusals, failures=failures)
    return outcome


def _deferred(outcome: Outcome, deferral: Deferred) -> Outcome:
    outcome.state = "deferred" if deferral.until is not None else "refused"
    outcome.not_before = deferral.until
    outcome.why = deferral.reason
    return outcome


def _no_key(spec: JobSpec) -> Outcome:
    names = " or ".join(source.provider.title for source in spec.sources)
    example = f'{{"{spec.sources[0].provider.name}": ["..."]}}'
    return Outcome("refused", why=f"no key for {names}: add one to PIPELINE_API_KEYS, {example}")


async def _derive(spec: JobSpec, run: Run, dependencies: Dependencies) -> Outcome:
    """Store a dataset that is made from other tables, without a call."""
    assert spec.derive is not None
    outcome = Outcome(items=1, items_done=1, sources=[OWN_TABLES])
    rows = tuple(spec.derive(run))
    result = Collected(Request("", ""), "done" if rows else "empty", rows=rows)
    saved = await dependencies.store.save(OWN_TABLES, [result])
    outcome.counts.add(saved.counts)
    outcome.counts.changed += await dependencies.store.prune()
    judge(outcome, sweep=False, refusals=[], failures=[])
    if not rows:
        outcome.state = "failed"
        outcome.why = f"the tables it is made from are empty: {', '.join(spec.depends)}"
    return outcome
