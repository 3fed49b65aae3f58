"""The log of aiokafka while the broker is away."""

import logging

import ray_pipeline.storage.kafka.client_options  # noqa: F401 - it limits the log
from ray_pipeline.storage.kafka.client_log import INTERVAL_S, LIMIT, LOGGER, LimitedLog, limit_log


class Messages(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Bench:
    """A logger with a limit, and the time of its clock."""

    def __init__(self) -> None:
        self.now_s, self.messages = 0.0, Messages()
        target, self.logger = logging.Logger("target"), logging.Logger("aiokafka.conn")
        target.addHandler(self.messages)
        self.logger.addHandler(LimitedLog(target, clock=lambda: self.now_s))

    def fail(self, times: int) -> None:
        """Log a failure that names another address each time."""
        for number in range(times):
            self.logger.error("Unable to connect to %s", number)


def test_repeated_messages_are_suppressed_and_counted():
    bench = Bench()
    bench.fail(1_000)
    assert bench.messages.texts == [f"Unable to connect to {number}" for number in range(LIMIT)]

    bench.now_s = INTERVAL_S
    bench.fail(1)
    assert bench.messages.texts[LIMIT:] == [
        f"{1_000 - LIMIT} messages like the next were suppressed", "Unable to connect to 0",
    ]  # fmt: skip


def test_another_message_is_not_suppressed():
    bench = Bench()
    bench.fail(1_000)
    bench.logger.warning("Group Coordinator Request failed")
    assert bench.messages.texts[-1] == "Group Coordinator Request failed"


def test_rare_messages_all_pass():
    bench = Bench()
    for _ in range(10):
        bench.fail(LIMIT)
        bench.now_s += INTERVAL_S
    assert len(bench.messages.texts) == 10 * LIMIT


def test_every_logger_of_aiokafka_is_limited_once():
    limit_log()
    messages, root = Messages(), logging.getLogger()
    root.addHandler(messages)
    try:
        for number in range(100):
            logging.getLogger("aiokafka.test").error("the broker is away, attempt %d", number)
    finally:
        root.removeHandler(messages)
    assert sum(isinstance(item, LimitedLog) for item in logging.getLogger(LOGGER).handlers) == 1
    assert len(messages.texts) == LIMIT
