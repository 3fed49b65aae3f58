"""A limit for the log of aiokafka, which repeats each failure of a connection without a pause."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL_S = 60.0
LIMIT = 3  # messages of one kind in an interval
LOGGER = "aiokafka"


@dataclass(slots=True)
class _Kind:
    """The messages of one kind in the present interval."""

    since_s: float
    count: int = 0
    suppressed: int = 0


class LimitedLog(logging.Handler):
    """
    Passes on the first messages of each kind in an interval, and says how many it suppressed.

    A kind is the logger and the text without its arguments, because addresses and numbers vary. It
    is a handler and not a filter of the loggers: other handlers must receive every message, such as
    the one that learns from them why a client cannot connect.
    """

    def __init__(self, target: logging.Logger, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._target = target
        self._clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on to the target's handlers, unless its kind reached the limit."""
        now_s = self._clock()
        key = (record.name, str(record.msg))
        kind = self._kinds.setdefault(key, _Kind(now_s))
        if now_s - kind.since_s >= INTERVAL_S:
            if kind.suppressed:
                self._say(record, kind.suppressed)
            self._kinds[key] = kind = _Kind(now_s)
        kind.count += 1
        if kind.count > LIMIT:
            kind.suppressed += 1
        else:
            self._target.handle(record)

    def _say(self, record: logging.LogRecord, suppressed: int) -> None:
        text = "%d messages like the next were suppressed"
        self._target.handle(
            logging.LogRecord(
                record.name,
                record.levelno,
                record.pathname,
                record.lineno,
                text,
                (suppressed,),
                None,
            )
        )


def limit_log() -> None:
    """Limit the log of aiokafka in this process. A second call changes nothing."""
    logger = logging.getLogger(LOGGER)
    if any(isinstance(handler, LimitedLog) for handler in logger.handlers):
        return
    logger.addHandler(LimitedLog(logging.getLogger(), clock=time.monotonic))
    logger.propagate = False
