"""Start a client of Kafka, and name the cause if it cannot connect."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.redact import redact

REFUSED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    ssl.SSLCertVerificationError,
)
FAILURES = (KafkaError, OSError, TimeoutError, asyncio.TimeoutError)


class _ConnectionCauses(logging.Handler):
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
def _connection_causes() -> Iterator[_ConnectionCauses]:
    handler, logger = _ConnectionCauses(), logging.getLogger("aiokafka")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def _root(error: BaseException) -> BaseException:
    """Return the original error: the connection wraps it in KafkaConnectionError."""
    inner = error.__cause__ or error.__context__
    return _root(inner) if isinstance(inner, (*REFUSED, OSError)) else error


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
    with _connection_causes() as causes:
        try:
            async with asyncio.timeout(timeout_s):
                await client.start()
        except FAILURES as error:
            errors = [_root(item) for item in (*causes.errors, error)]
            refused = next((item for item in errors if isinstance(item, REFUSED)), None)
            if refused is not None:
                raise ConfigurationError(
                    f"Kafka at {servers} refuses the connection: {failure_text(refused, options)}",
                    fix="check PIPELINE_KAFKA__SASL_* and PIPELINE_KAFKA__SSL_*",
                ) from None
            raise BrokerUnavailable(
                f"Kafka at {servers} cannot be reached: {failure_text(errors[0], options)}",
                fix="start it, or correct PIPELINE_KAFKA__BOOTSTRAP_SERVERS",
            ) from None


def failure_text(error: BaseException, options: Mapping[str, object]) -> str:
    """Return the name and text of the original error, without the password in `options`."""
    original = _root(error)
    name = type(original).__name__
    text = f"{name}: {original}" if str(original) else name
    return redact(text, [str(options.get("sasl_plain_password", ""))])
