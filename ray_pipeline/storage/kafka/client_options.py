"""How every client connects to Kafka: address, SASL and TLS."""

import ssl
from typing import TypedDict

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.settings import KafkaSettings
from ray_pipeline.storage.kafka.client_log import limit_log

# Every process that uses a client of aiokafka imports this module.
limit_log()


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
