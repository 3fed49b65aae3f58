"""Every error that the pipeline raises. The class says what to do, the text what went wrong."""

from enum import Enum
from typing import Any, ClassVar


class Disposition(Enum):
    """What a caller should do about an error."""

    RETRY = "retry"  # a dependency is unavailable: the same call will work later
    WAIT = "wait"  # a dependency requires a pause
    PARK = "park"  # the data is bad: store it with the reason and continue
    STOP = "stop"  # another process owns the resource now
    GIVE_UP = "give_up"  # a person has to change something


class PipelineError(Exception):
    """
    Base class of every error that the pipeline raises.

    Attributes:
        fix: How a person can solve the problem, one sentence; empty if the text says it.
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
    """A required program or package is not installed."""


class ServerError(PipelineError):
    """An embedded server did not start, or ended unexpectedly."""


class PortTaken(ServerError):
    """An embedded server did not start because another program listens at one of its ports."""


class Unavailable(PipelineError):
    """A dependency is unavailable. Waiting loses no data."""

    disposition = Disposition.RETRY


class BrokerUnavailable(Unavailable):
    """Kafka cannot be reached, or did not acknowledge in time."""


class LogReplaced(BrokerUnavailable):
    """The broker lost data: its log no longer contains the next records."""


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
        retry_after_s: Seconds to wait before the next attempt; 0 if the provider gave none.
    """

    disposition = Disposition.WAIT

    def __init__(self, message: str, *, retry_after_s: float = 0.0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after_s = retry_after_s


class SymbolRefused(FeedRefused):
    """A venue refused a request because of its symbols. It does not name the symbol at fault."""


class BadRecord(PipelineError):
    """Data that cannot be decoded or is invalid. The reason is a short stable word."""

    disposition = Disposition.PARK

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadValue(PipelineError, ValueError):
    """A value of a provider that has another notation or another type than the column requires."""

    disposition = Disposition.PARK


class RecordTooLarge(PipelineError):
    """
    The broker will never accept a record.

    Attributes:
        index: Its position among the records of the call, from 0.
    """

    disposition = Disposition.PARK

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class SpoolFull(PipelineError):
    """The disk or the size limit of a spool is used up; no record of the call was stored."""

    disposition = Disposition.WAIT


class OwnershipLost(PipelineError):
    """Another holder has the lease or the partition; this one must stop writing."""

    disposition = Disposition.STOP


class MigrationError(PipelineError):
    """The database's schema is not what the code expects."""


class ProviderUnavailable(Unavailable):
    """A provider of batch data cannot be reached, or does not answer in time."""


class RedirectRefused(ProviderUnavailable):
    """A redirect that was not followed, because its target must not receive keys."""

    disposition = Disposition.GIVE_UP


class AnswerTooLarge(ProviderUnavailable):
    """A provider's answer exceeds the size limit; its remaining bytes were not read."""


class Overlap(PipelineError):
    """Another run of the same job is in progress; this one would repeat its requests."""

    disposition = Disposition.WAIT
