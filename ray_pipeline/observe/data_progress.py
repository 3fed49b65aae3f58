"""Whether data progresses, for every `/ready`, from the status page. Pure."""

from dataclasses import dataclass

from ray_pipeline.observe.freshness import lack_of_progress, newest_age
from ray_pipeline.observe.status import Status


@dataclass(frozen=True, slots=True)
class DataProgress:
    """
    Whether data progresses.

    Attributes:
        reasons: Why it does not; empty while it does.
        notices: What differs from the settings without harm.
        newest_age_s: Age of the newest record of all feeds; None if none was ever stored.
    """

    reasons: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    newest_age_s: float | None = None


def data_progress(page: Status, *, limit_s: float) -> DataProgress:
    """
    Judge the enabled feeds and their topics.

    One feed that progresses is enough: markets close at different times. Records that nothing
    reads or can send are a reason, however much the other feeds store.
    """
    feeds = [row for row in page.feeds if row.enabled]
    newest_age_s = newest_age(row.last_record_age_s for row in feeds)
    # With every feed disabled, only batch jobs run, and nothing has to progress.
    idle = lack_of_progress(newest_age_s, limit_s=limit_s) if feeds or not page.feeds else ""
    troubles = (page.database, idle, *(topic.trouble for topic in page.topics))
    return DataProgress(
        reasons=tuple(filter(None, troubles)),
        notices=tuple(filter(None, (topic.notice for topic in page.topics))),
        newest_age_s=newest_age_s,
    )
