"""Routes about the pipeline itself: health, gaps, dead letters, jobs, quotas, freshness."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from ray_pipeline import catalog
from ray_pipeline.api.answers import NotFound, answer, refusal
from ray_pipeline.api.examples import (
    DEAD_LETTER,
    FRESH,
    GAP,
    HEALTH,
    JOB,
    QUOTA,
    RUN,
    SAMPLE,
    WHY,
    shows,
)
from ray_pipeline.api.parameters import Before, Limit, MaybeFeed, Used
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.data_progress import data_progress
from ray_pipeline.observe.job_list import job_rows
from ray_pipeline.storage.postgres import pages
from ray_pipeline.storage.postgres.freshness_rows import by_source, of_feeds, why_row
from ray_pipeline.storage.postgres.runs import last_runs, recent_runs

router = APIRouter(tags=["pipeline"])


@router.get("/live", summary="Whether the process answers", responses=shows({"live": True}))
async def live() -> Response:
    """Requires no token and no store."""
    return answer({"live": True})


@router.get("/ready", summary="Whether data progresses", responses=shows({"ready": True}, 503))
async def ready(services: Used) -> Response:
    """
    503 with the reason if Postgres is down, records wait that nothing reads or can send, or no feed
    stored a record for `api.ready_s`.
    """
    page = await services.status.get()
    progress = data_progress(page, limit_s=services.settings.api.ready_s)
    if progress.reasons:
        return refusal(503, "; ".join(progress.reasons), "GET /why tells more")
    return answer(
        {
            "ready": True,
            "newest_record_age_s": progress.newest_age_s,
            "notices": progress.notices,
        }
    )


@router.get("/why", summary="One sentence per feed and job", responses=shows({"why": [WHY]}, 503))
async def why(services: Used) -> Response:
    """Why each dataset is fresh or not, and what would change that."""
    # The feeds come from the cached status, so that `/why` and `/v1/health` agree.
    feeds = of_feeds(await services.status.get())
    jobs = [row for row in await services.freshness.get() if row.kind == "job"]
    return answer({"why": [why_row(row) for row in by_source([*feeds, *jobs])]})


@router.get("/v1/health", summary="Feeds, shards, consumers, lag", responses=shows(HEALTH, 503))
async def health(services: Used) -> Response:
    """The content of `ray-pipeline status`; rates are averages of the last five seconds."""
    page = (await services.status.get()).as_json()
    rates = services.throughput.rates()
    feeds = page["feeds"]
    assert isinstance(feeds, dict)
    for name, row in feeds.items():
        row["records_per_s"] = rates.get(name)
    simulated = services.settings.api.simulated
    return answer(page | {"clients": services.clients, "simulated": simulated})


@router.get(
    "/v1/throughput",
    summary="Rate and lag over the last hour",
    responses=shows({"samples": [SAMPLE]}),
)
async def throughput(services: Used) -> Response:
    """A sample every five seconds since this process started, for an hour at most."""
    return answer({"samples": services.throughput.points()})


@router.get(
    "/v1/gaps",
    summary="Data that could not be collected",
    responses=shows({"rows": [GAP]}, 404, 422, 503),
)
async def gaps(
    services: Used, feed: MaybeFeed, after: Before = None, limit: Limit = 100
) -> Response:
    """Newest first; pass `next` as `after` to get the next page."""
    page = await services.stores.postgres.read(
        pages.gaps, feed_name=feed, before=after, limit=limit
    )
    return answer({"rows": page.rows, "next": page.next})


@router.get(
    "/v1/dead-letters",
    summary="Records that could not be stored",
    responses=shows({"rows": [DEAD_LETTER]}, 404, 422, 503),
)
async def dead_letters(
    services: Used,
    feed: MaybeFeed,
    state: Annotated[Literal["open", "replayed", "dropped"], Query()] = "open",
    after: Before = None,
    limit: Limit = 100,
) -> Response:
    """Newest first, without payloads; and the number of open ones by feed and reason."""
    page = await services.stores.postgres.read(
        pages.dead_letters, feed_name=feed, state=state, before=after, limit=limit
    )
    counts = [asdict(row) for row in (await services.status.get()).dead_letters]
    return answer({"rows": page.rows, "next": page.next, "open": counts})


@router.get("/v1/jobs", summary="Every batch dataset", responses=shows({"jobs": [JOB]}, 503))
async def jobs(services: Used) -> Response:
    """Title, sources, schedule, tables and the newest run of each job."""
    last = await services.stores.postgres.read(last_runs)
    return answer({"jobs": job_rows(last, now=datetime.now(UTC))})


@router.get("/v1/runs", summary="The newest runs", responses=shows({"runs": [RUN]}, 404, 422, 503))
async def runs(
    services: Used,
    job: Annotated[str | None, Query(max_length=64, description="Only this job.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """State, calls, rows and reason of each run, newest first."""
    if job is not None:
        try:
            catalog.job(job)
        except PipelineError as error:
            raise NotFound("no such job", fix=error.fix) from None
    rows = await services.stores.postgres.read(recent_runs, job=job, limit=limit)
    return answer({"runs": rows})


@router.get(
    "/v1/quotas",
    summary="The quota that each key has left",
    responses=shows({"quotas": [QUOTA]}, 503),
)
async def quotas(services: Used) -> Response:
    """One row per window of a key; `key` is a fingerprint, never the key."""
    return answer({"quotas": [row.as_json() for row in await services.quotas.get()]})


@router.get(
    "/v1/freshness", summary="How fresh each table is", responses=shows({"tables": [FRESH]}, 503)
)
async def freshness(services: Used) -> Response:
    """When data was last collected for each table, whether it is fresh, and why."""
    return answer({"tables": await services.freshness.get()})
