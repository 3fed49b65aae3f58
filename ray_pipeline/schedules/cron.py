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

    At clock changes it behaves like Debian's cron: a slot at a skipped time is due right after the
    change, and a slot at a repeated time is due only the first time. Schedules of every hour or
    more often follow the wall clock.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """
        Check the expression and the zone.

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
        """Return the last slot at or before `moment`, None if the last four years have no slot."""
        # CronSim only runs forwards. Most schedules have a slot in the last day, so try short
        # periods of the past first; 1,500 days include a 29 February.
        for days in (1, 8, 32, 367, 1500):
            slots = list(self.between(moment - timedelta(days=days), moment))
            if slots:
                return slots[-1]
        return None
