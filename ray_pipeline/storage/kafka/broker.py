"""Kafka: how to connect, the topics, and a producer that is replaced after a failure."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)

from ray_pipeline.catalog import FEEDS
from ray_pipeline.errors import BrokerUnavailable, ConfigurationError, RecordTooLarge
from ray_pipeline.redact import redact
from ray_pipeline.settings import KafkaSettings, Settings

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
REQUEST_BYTES = 1_048_576
# The fields of a batch and of its first record, at most.
OVERHEAD_BYTES = 100
REQUEST_TIMEOUT_S = 5.0
# An idempotent producer repeats a batch without end; this limits it.
SEND_TIMEOUT_S = 6.0
CLOSE_TIMEOUT_S = 2.0
TOPICS_TIMEOUT_S = 15.0
POLL_S = 0.1

OutgoingMessage = tuple[int, bytes, bytes]  # partition, key, value

REFUSED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    ssl.SSLCertVerificationError,
)
NOT_ALLOWED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
WRONG = (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    PolicyViolationError,
    *NOT_ALLOWED,
)
FAILURES = (KafkaError, OSError, TimeoutError, asyncio.TimeoutError)


class ClientOptions(TypedDict, total=False):
    """The options with which every client of aiokafka connects."""

    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str
    sasl_plain_username: str
    sasl_plain_password: str
    ssl_context: ssl.SSLContext


def client_options(settings: KafkaSettings, bootstrap: str) -> ClientOptions:
    """
    Return how to connect: the same for a producer, a consumer and an admin client.

    Raises:
        ConfigurationError: If SASL lacks its user or password, or a certificate cannot be read.
    """
    options = ClientOptions(
        bootstrap_servers=bootstrap, security_protocol=settings.security_protocol
    )
    if settings.security_protocol.startswith("SASL_"):
        if not settings.sasl_username or settings.sasl_password is None:
            raise ConfigurationError(
                f"{settings.security_protocol} needs a user and a password",
                fix="set PIPELINE_KAFKA__SASL_USERNAME and PIPELINE_KAFKA__SASL_PASSWORD",
            )
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    return options


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except (OSError, ssl.SSLError) as error:
        # The library does not name the file.
        files = (settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile)
        names = ", ".join(str(file) for file in files if file is not None)
        raise ConfigurationError(
            f"a certificate for Kafka cannot be read: {names}: {error}",
            fix="check PIPELINE_KAFKA__SSL_*",
        ) from error
    return context


class _Causes(logging.Handler):
    """Collects why this task's connections failed: aiokafka only logs the cause."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self._task = asyncio.current_task()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the errors in a record's arguments."""
        if isinstance(record.args, tuple) and asyncio.current_task() is self._task:
            self.errors += [item for item in record.args if isinstance(item, BaseException)]


@contextlib.contextmanager
def _causes() -> Iterator[_Causes]:
    handler, logger = _Causes(), logging.getLogger("aiokafka")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def _root(error: BaseException) -> BaseException:
    """Return the original error: the connection wraps it in KafkaConnectionError."""
    inner = error.__cause__ or error.__context__
    return _root(inner) if isinstance(inner, (*REFUSED, OSError)) else error


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def start_client(
    client: AIOKafkaProducer | AIOKafkaConsumer | AIOKafkaAdminClient,
    options: Mapping[str, object],
    *,
    timeout_s: float,
) -> None:
    """
    Connect a client that was created with these options.

    Raises:
        ConfigurationError: If the broker refuses the credentials, or its certificate is wrong.
        BrokerUnavailable: If it cannot be reached.
    """
    servers = options["bootstrap_servers"]
    with _causes() as causes:
        try:
            async with asyncio.timeout(timeout_s):
                await client.start()
        except FAILURES as error:
            errors = [_root(item) for item in (*causes.errors, error)]
            refused = next((item for item in errors if isinstance(item, REFUSED)), None)
            if refused is not None:
                raise ConfigurationError(
                    f"Kafka at {servers} refuses the connection: {_clean(_text(refused), options)}",
                    fix="check PIPELINE_KAFKA__SASL_* and PIPELINE_KAFKA__SSL_*",
                ) from None
            raise BrokerUnavailable(
                f"Kafka at {servers} cannot be reached: {_clean(_text(errors[0]), options)}",
                fix="start it, or correct PIPELINE_KAFKA__BOOTSTRAP_SERVERS",
            ) from None


def _clean(text: str, options: Mapping[str, object]) -> str:
    """Return the text without the password."""
    return redact(text, [str(options.get("sasl_plain_password", ""))])


@contextlib.asynccontextmanager
async def replaying_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a plain producer for a command that replays records; raises one of `FAILURES`."""
    options = client_options(settings.kafka, settings.bootstrap_servers())
    producer = AIOKafkaProducer(**options, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def ensure_topics(settings: Settings) -> None:
    """
    Create the missing topics of all feeds, and wait until the broker shows them.

    Raises:
        ConfigurationError: If the broker refuses the credentials or the topics.
        BrokerUnavailable: If the broker is away or takes too long.
    """
    options = client_options(settings.kafka, settings.bootstrap_servers())
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
    try:
        await start_client(admin, options, timeout_s=2 * REQUEST_TIMEOUT_S)
        try:
            async with asyncio.timeout(TOPICS_TIMEOUT_S):
                await _create(admin, topics(settings), settings.kafka.replication_factor)
        except FAILURES as error:
            raise BrokerUnavailable(
                f"Kafka's topics could not be created: {_clean(_text(_root(error)), options)}"
            ) from error
    finally:
        await admin.close()


def topics(settings: Settings) -> dict[str, int]:
    """Return each feed's topic, with the prefix, and its number of partitions."""
    return {
        settings.kafka.topic_prefix + spec.topic: getattr(settings.kafka, spec.partitions_setting)
        for spec in FEEDS
    }


async def _create(
    admin: AIOKafkaAdminClient, partition_counts: dict[str, int], replication_factor: int
) -> None:
    existing = set(await admin.list_topics())
    missing = [
        _new_topic(name, partitions, replication_factor)
        for name, partitions in partition_counts.items()
        if name not in existing
    ]
    if missing:
        response = await admin.create_topics(missing, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        for name, code, *text in response.topic_errors:
            _check(name, code, str(text[0] or "") if text else "")
    while not await _visible(admin, list(partition_counts)):  # noqa: ASYNC110 - aiokafka has only polling
        await asyncio.sleep(POLL_S)


def _new_topic(name: str, partitions: int, replication_factor: int) -> NewTopic:
    topic = NewTopic(name, partitions, 1)
    # The constructor refuses -1, the broker's own default; the request does not.
    topic.replication_factor = replication_factor
    return topic


async def _visible(admin: AIOKafkaAdminClient, names: list[str]) -> bool:
    return not any(topic["error_code"] for topic in await admin.describe_topics(names))


def _check(name: str, code: int, text: str) -> None:
    kind = for_code(code)
    if code == 0 or kind is TopicAlreadyExistsError:
        return
    if issubclass(kind, WRONG):
        raise ConfigurationError(f"Kafka refuses topic {name}: {kind.__name__} {text}".rstrip())
    raise BrokerUnavailable(f"Kafka did not create topic {name}: {kind.__name__} {text}".rstrip())


class KafkaBroker:
    """
    Sends records and waits for all acknowledgements. Outboxes of one event loop may share it.

    A producer that failed once is replaced: an idempotent one has sequence numbers in flight that
    the broker may or may not have, and only a new producer is certain to be accepted.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare to connect; ConfigurationError if the settings lack an option."""
        self._options = client_options(settings.kafka, settings.bootstrap_servers())
        self._idempotence = settings.kafka.idempotence
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def partitions(self, topic: str) -> int:
        """
        Return how many partitions a topic has.

        Raises:
            BrokerUnavailable: If the broker is away or has no such topic.
        """
        producer = await self._connected()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return len(await producer.partitions_for(topic))
        except FAILURES as error:
            raise self._failed(producer, f"{topic} has no partitions", error) from error

    async def send(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """
        Send messages, in order within a partition, and return when all are acknowledged.

        Raises:
            RecordTooLarge: If one cannot be sent at all; those before it may have been.
            BrokerUnavailable: If not all were acknowledged; any of them may have been.
        """
        by_partition: dict[int, list[int]] = {}
        for index, (partition, key, value) in enumerate(messages):
            if len(key) + len(value) + OVERHEAD_BYTES > REQUEST_BYTES:
                raise _too_large(index, len(value), REQUEST_BYTES)
            by_partition.setdefault(partition, []).append(index)
        sends = [self._send_all(topic, messages, order) for order in by_partition.values()]
        if len(sends) == 1:
            await sends[0]
            return
        results = await asyncio.gather(*sends, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Disconnect. What was not acknowledged by then may not have been sent."""
        async with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            await _dispose(producer)
        await asyncio.gather(*self._closing)

    async def _send_all(
        self, topic: str, messages: Sequence[OutgoingMessage], order: list[int]
    ) -> None:
        position = 0
        while position < len(order):
            position += await self._send_batch(topic, messages, order[position:])

    async def _send_batch(
        self, topic: str, messages: Sequence[OutgoingMessage], order: Sequence[int]
    ) -> int:
        """Send as many messages as one batch holds and return their count."""
        # One batch after the other: a batch that fails must not be overtaken by the next one.
        producer = await self._connected()
        partition = messages[order[0]][0]
        batch, count = producer.create_batch(), 0
        for index in order:
            _, key, value = messages[index]
            if batch.append(timestamp=None, key=key, value=value) is None:
                break
            count += 1
        batch.close()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                future = await producer.send_batch(batch, topic, partition=partition)
                future.add_done_callback(_forget)
                # Cancelling the future itself would break the producer for its other users.
                await asyncio.shield(future)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            # The batch used sequence numbers that the broker will never see: replace the producer.
            self._discard(producer)
            if count == 1:
                size = len(messages[order[0]][2])
                raise _too_large(order[0], size, 0) from error
            return await self._send_batch(topic, messages, order[: count // 2])
        except (*FAILURES, AssertionError) as error:
            raise self._failed(producer, f"{topic} was not acknowledged", error) from error
        return count

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is not None:
                return self._producer
            producer = AIOKafkaProducer(
                **self._options,
                acks="all",
                enable_idempotence=self._idempotence,
                linger_ms=0,
                max_batch_size=BATCH_BYTES,
                max_request_size=REQUEST_BYTES,
                request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
                retry_backoff_ms=100,
            )
            try:
                await start_client(producer, self._options, timeout_s=SEND_TIMEOUT_S)
            except ConfigurationError as error:
                # Records wait as in an outage: the password may be corrected on either side.
                self._dispose_later(producer)
                raise BrokerUnavailable(error.args[0], fix=error.fix) from None
            except BaseException:
                self._dispose_later(producer)
                raise
            self._producer = producer
            return producer

    def _failed(
        self, producer: AIOKafkaProducer, problem: str, error: BaseException
    ) -> BrokerUnavailable:
        self._discard(producer)
        return BrokerUnavailable(f"Kafka: {problem}: {_clean(_text(_root(error)), self._options)}")

    def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            self._dispose_later(producer)

    def _dispose_later(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_dispose(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _too_large(index: int, size: int, limit: int) -> RecordTooLarge:
    over = f"more than {limit}" if limit else "more than the broker takes"
    return RecordTooLarge(f"a record of {size} bytes is {over}", index=index)


async def _dispose(producer: AIOKafkaProducer) -> None:
    """Stop a producer without waiting for what it still wants to send. It raises nothing."""
    # `stop` alone would wait for every batch, which an idempotent producer repeats without end. The
    # sender ends before the batches are failed: it raises if a batch fails that it is sending.
    sender = producer._sender.sender_task if producer._sender is not None else None
    if sender is not None:
        sender.cancel()
    await _end(asyncio.create_task(producer.client.close()))
    if sender is not None:
        await _end(sender)
    batches = producer._message_accumulator
    for waiting in batches._batches.values():
        for batch in waiting:
            batch._drain_waiter.add_done_callback(_forget)
    batches.fail_all(KafkaError("the producer was closed"))
    await _end(asyncio.create_task(producer.stop()))


async def _end(task: "asyncio.Task[None]") -> None:
    """Wait for a task for a short time, then cancel it; ignore its result."""
    await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
    task.cancel()
    task.add_done_callback(_forget)


def _forget(future: "asyncio.Future[Any]") -> None:
    """Retrieve an exception that is no longer awaited; asyncio would log it otherwise."""
    if not future.cancelled():
        future.exception()
