"""Cron expressions in a named time zone; a clock change neither drops nor doubles a slot."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ray_pipeline.errors import ConfigurationError

NEW_YORK = "America/New_York"
SEOUL = "Asia/Seoul"


@dataclass(frozen=True, slots=True)
class Cron:
    """
    Five fields, minute hour day month weekday, read in a time zone.

    At the two clock changes it does what Debian's cron does: a job at a time that does not exist
    runs right after the gap, and one at a time that comes twice runs the first time only; jobs
    that run every hour or oftener follow the clock on the wall.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """
        Check both.

        Raises:
            ConfigurationError: If the expression or the zone cannot be read.
        """
        try:
            CronSim(self.expression, datetime(2024, 1, 1))  # noqa: DTZ001 - only to check
            ZoneInfo(self.zone)
        except (CronSimError, ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"schedule {self.expression!r} in {self.zone!r} cannot be read: {error}",
                fix="five cron fields, and a zone such as America/New_York",
            ) from None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield every slot after `moment`, in UTC."""
        local = moment.astimezone(ZoneInfo(self.zone))
        for slot in CronSim(self.expression, local):
            yield slot.astimezone(UTC)

    def next(self, moment: datetime) -> datetime:
        """Return the first slot after `moment`, in UTC."""
        return next(self.after(moment))

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Yield every slot with first < slot <= last, in UTC."""
        for slot in self.after(first):
            if slot > last:
                return
            yield slot

    def latest(self, moment: datetime) -> datetime | None:
        """Return the last slot at or before `moment`, None where there was none for two years."""
        # Looked for in ever longer stretches of the past: most schedules are short.
        for days in (1, 8, 32, 367, 1500):
            slots = list(self.between(moment - timedelta(days=days), moment))
            if slots:
                return slots[-1]
        return None
