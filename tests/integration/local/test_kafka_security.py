"""The listeners that require credentials accept the right ones and refuse all others."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from tests.certificates import make_certificates
from tests.secured_kafka import KafkaSecurity, SecuredKafka

PASSWORD = "right"
SASL, TLS = "SASL_PLAINTEXT", "SASL_SSL"


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> KafkaSecurity:
    return KafkaSecurity(
        users={"ann": PASSWORD},
        certificate=make_certificates(tmp_path_factory.mktemp("certificates")).server,
    )


@pytest.fixture(scope="module")
def secured_kafka(servers_dir: Path, security: KafkaSecurity) -> Iterator[SecuredKafka]:
    server = SecuredKafka(servers_dir / "secured-kafka", security)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def authority(security: KafkaSecurity) -> ssl.SSLContext:
    """Trusts only the authority that signed the broker's certificate."""
    return ssl.create_default_context(cafile=str(security.certificate.with_name("ca.pem")))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_the_right_password_is_accepted(secured_kafka, mechanism):
    await _connect(secured_kafka.listener(SASL), mechanism=mechanism)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_refused(secured_kafka, mechanism):
    with pytest.raises(KafkaConnectionError):
        await _connect(secured_kafka.listener(SASL), mechanism=mechanism, password="wrong")


async def test_a_client_without_credentials_is_refused(secured_kafka):
    producer = AIOKafkaProducer(
        bootstrap_servers=secured_kafka.listener(SASL), request_timeout_ms=3000
    )
    with pytest.raises(KafkaConnectionError):
        await producer.start()
    await producer.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_tls_with_the_right_authority_is_accepted(secured_kafka, authority, mechanism):
    await _connect(secured_kafka.listener(TLS), mechanism=mechanism, context=authority)


async def test_tls_with_a_wrong_password_is_refused(secured_kafka, authority):
    with pytest.raises(KafkaConnectionError):
        await _connect(
            secured_kafka.listener(TLS), mechanism="PLAIN", password="wrong", context=authority
        )


async def test_tls_with_an_unknown_authority_is_refused(secured_kafka):
    with pytest.raises(KafkaConnectionError):
        await _connect(
            secured_kafka.listener(TLS), mechanism="PLAIN", context=ssl.create_default_context()
        )


async def test_the_users_survive_a_restart(secured_kafka):
    secured_kafka.kill()
    secured_kafka.start()

    await _connect(secured_kafka.listener(SASL), mechanism="SCRAM-SHA-512")


async def _connect(
    address: str,
    *,
    mechanism: str,
    password: str = PASSWORD,
    context: ssl.SSLContext | None = None,
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=address,
        security_protocol="SASL_SSL" if context else "SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_plain_username="ann",
        sasl_plain_password=password,
        ssl_context=context,
        request_timeout_ms=5000,
    )
    try:
        await producer.start()
    finally:
        await producer.stop()
