"""Every error raised on purpose. The class says what to do, the text says what went wrong."""

from enum import Enum
from typing import Any, ClassVar


class Disposition(Enum):
    """What a caller should do about an error."""

    RETRY = "retry"  # the other side is away: the same call will work later
    WAIT = "wait"  # the other side asked for a pause
    PARK = "park"  # the data is bad: set it aside with its reason and go on
    STOP = "stop"  # somebody else owns the work now
    GIVE_UP = "give_up"  # a person has to change something


class PipelineError(Exception):
    """
    Base class of every error the pipeline raises on purpose.

    Attributes:
        fix: What a person can do about it, one sentence; empty where the text says it.
    """

    disposition: ClassVar[Disposition] = Disposition.GIVE_UP

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  fix: {self.fix}" if self.fix else message

    def __reduce__(self) -> tuple[Any, ...]:
        # Rebuild without calling __init__: errors travel between Ray workers, and the
        # default protocol loses keyword arguments.
        return type(self).__new__, (type(self), *self.args), self.__dict__


class ConfigurationError(PipelineError):
    """A setting is missing, unknown or wrong."""


class MissingDependency(PipelineError):
    """A program or package that was asked for is not installed."""


class ServerError(PipelineError):
    """An embedded server did not start, or died."""


class PortTaken(ServerError):
    """An embedded server did not start because another program listens at one of its ports."""


class Unavailable(PipelineError):
    """A dependency is away. Nothing is lost by waiting."""

    disposition = Disposition.RETRY


class BrokerUnavailable(Unavailable):
    """Kafka cannot be reached, or did not acknowledge in time."""


class LogReplaced(BrokerUnavailable):
    """The broker lost what it had: its log no longer holds the records that come next."""


class DatabaseUnavailable(Unavailable):
    """Postgres cannot be reached, or is out of a resource."""


class CacheUnavailable(Unavailable):
    """Redis cannot be reached, or refuses writes."""


class FeedUnavailable(Unavailable):
    """A provider's stream cannot be reached."""


class FeedRefused(PipelineError):
    """
    A provider refused the connection or the subscription.

    Attributes:
        retry_after_s: Seconds the provider asked us to wait, 0 when it did not say.
    """

    disposition = Disposition.WAIT

    def __init__(self, message: str, *, retry_after_s: float = 0.0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after_s = retry_after_s


class BadRecord(PipelineError):
    """Data that cannot be what it claims to be. The reason is a short stable word."""

    disposition = Disposition.PARK

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecordTooLarge(PipelineError):
    """
    The broker will never take a record.

    Attributes:
        index: Which one of those that were sent, from 0.
    """

    disposition = Disposition.PARK

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class SpoolFull(PipelineError):
    """The disk, or what a spool may use of it, is used up; nothing of the call was kept."""

    disposition = Disposition.WAIT


class OwnershipLost(PipelineError):
    """Another holder has the lease or the partition; this one must stop writing."""

    disposition = Disposition.STOP


class MigrationError(PipelineError):
    """The database's schema is not what the code expects."""


class ProviderUnavailable(Unavailable):
    """A provider of batch data cannot be reached, or does not answer in time."""


class RedirectRefused(ProviderUnavailable):
    """A redirect that was not followed, because keys must not go where it leads."""

    disposition = Disposition.GIVE_UP


class AnswerTooLarge(ProviderUnavailable):
    """A provider's answer is larger than what was to be taken; the rest of it was not read."""


class Overlap(PipelineError):
    """Another run of the same job is at work; this one would ask everything twice."""

    disposition = Disposition.WAIT
