"""Routes about the pipeline itself: is it well, what is missing, what did the jobs do."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from ray_pipeline import catalog
from ray_pipeline.api.answers import NotFound, answer, refusal
from ray_pipeline.api.examples import (
    FRESH,
    GAP,
    HEALTH,
    JOB,
    LETTER,
    QUOTA,
    RUN,
    SAMPLE,
    WHY,
    shows,
)
from ray_pipeline.api.parameters import Before, Limit, MaybeFeed, Used
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.job_list import job_rows
from ray_pipeline.observe.status import age
from ray_pipeline.observe.why_feed import explain_feed
from ray_pipeline.storage.postgres import pages
from ray_pipeline.storage.postgres.runs import last_runs, recent_runs

router = APIRouter(tags=["pipeline"])


@router.get("/live", summary="Whether the process answers", responses=shows({"live": True}))
async def live() -> Response:
    """Needs no token and no store."""
    return answer({"live": True})


@router.get("/ready", summary="Whether data progresses", responses=shows({"ready": True}, 503))
async def ready(services: Used) -> Response:
    """503 with the reason when Postgres is away, or no feed stored a record for `api.ready_s`."""
    page = await services.status.get()
    ages = [row.last_record_age_s for row in page.feeds if row.last_record_age_s is not None]
    limit_s = services.settings.api.ready_s
    if not ages:
        return refusal(503, "no feed has ever stored a record", "GET /why tells more")
    if min(ages) > limit_s:
        said = f"no feed stored a record for {age(min(ages))}; the limit is {age(limit_s)}"
        return refusal(503, said, "GET /why tells more")
    return answer({"ready": True, "newest_record_age_s": min(ages)})


@router.get("/why", summary="One sentence a feed and job", responses=shows({"why": [WHY]}, 503))
async def why(services: Used) -> Response:
    """Why each dataset is fresh or not, and what would change that."""
    page = await services.status.get()
    feeds = [explain_feed(row, page.shards) for row in page.feeds]
    said = {one.source: one for one in await services.freshness.get() if one.kind == "job"}
    rows = [
        {"name": one.job, "kind": "feed", "fresh": one.fresh, "why": one.sentence} for one in feeds
    ] + [
        {"name": name, "kind": "job", "fresh": one.fresh, "why": one.why}
        for name, one in said.items()
    ]
    return answer({"why": rows})


@router.get("/v1/health", summary="Feeds, shards, consumers, lag", responses=shows(HEALTH, 503))
async def health(services: Used) -> Response:
    """The page that `ray-pipeline status` shows; rates are of the last five seconds."""
    page = (await services.status.get()).as_json()
    rates = services.samples.rates()
    feeds = page["feeds"]
    assert isinstance(feeds, dict)
    for name, row in feeds.items():
        row["records_per_s"] = rates.get(name)
    simulated = services.settings.api.simulated
    return answer(page | {"clients": services.clients, "simulated": simulated})


@router.get(
    "/v1/throughput",
    summary="Rate and lag of the last hour",
    responses=shows({"samples": [SAMPLE]}),
)
async def throughput(services: Used) -> Response:
    """A sample every five seconds, as this process took them; it keeps none over a restart."""
    return answer({"samples": services.samples.points()})


@router.get(
    "/v1/gaps",
    summary="What could not be collected",
    responses=shows({"rows": [GAP]}, 404, 422, 503),
)
async def gaps(
    services: Used, feed: MaybeFeed, after: Before = None, limit: Limit = 100
) -> Response:
    """Newest first; `next` is where the page that follows begins."""
    rows = await services.stores.postgres.read(
        lambda connection: pages.gaps(connection, feed_name=feed, before=after, limit=limit)
    )
    return answer({"rows": rows, "next": rows[-1]["id"] if len(rows) == limit else None})


@router.get(
    "/v1/dead-letters",
    summary="Records set aside",
    responses=shows({"rows": [LETTER]}, 404, 422, 503),
)
async def dead_letters(
    services: Used,
    feed: MaybeFeed,
    state: Annotated[Literal["open", "replayed", "dropped"], Query()] = "open",
    after: Before = None,
    limit: Limit = 100,
) -> Response:
    """Newest first, without their payloads, and how many are open, by feed and reason."""
    rows = await services.stores.postgres.read(
        lambda connection: pages.letters(
            connection, feed_name=feed, state=state, before=after, limit=limit
        )
    )
    counts = [asdict(one) for one in (await services.status.get()).dead_letters]
    following = rows[-1]["id"] if len(rows) == limit else None
    return answer({"rows": rows, "next": following, "open": counts})


@router.get("/v1/jobs", summary="Every batch dataset", responses=shows({"jobs": [JOB]}, 503))
async def jobs(services: Used) -> Response:
    """What it is, where it comes from, when, into which tables, and its newest run."""
    last = await services.stores.postgres.read(last_runs)
    return answer({"jobs": job_rows(last, now=datetime.now(UTC))})


@router.get("/v1/runs", summary="The newest runs", responses=shows({"runs": [RUN]}, 404, 422, 503))
async def runs(
    services: Used,
    job: Annotated[str | None, Query(max_length=64, description="Only this job's.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """State, calls, rows, and why."""
    if job is not None:
        try:
            catalog.job(job)
        except PipelineError as error:
            raise NotFound("no such job", fix=error.fix) from None
    rows = await services.stores.postgres.read(
        lambda connection: recent_runs(connection, job=job, limit=limit)
    )
    return answer({"runs": rows})


@router.get(
    "/v1/quotas", summary="What every key has left", responses=shows({"quotas": [QUOTA]}, 503)
)
async def quotas(services: Used) -> Response:
    """A row a window of a key; `key` is a fingerprint, never the key."""
    return answer({"quotas": [row.as_json() for row in await services.quotas.get()]})


@router.get(
    "/v1/freshness", summary="How fresh each table is", responses=shows({"tables": [FRESH]}, 503)
)
async def freshness(services: Used) -> Response:
    """When something was last collected for it, whether that is enough, and why."""
    return answer({"tables": await services.freshness.get()})
