"""Our own clients of Kafka over SASL_SSL: what they carry, and what they say where they cannot."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.settings import Settings, load
from ray_pipeline.simulators.finnhub import FinnhubOptions, FinnhubSimulator
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.positions import read_positions
from ray_pipeline.storage.kafka.reader import KafkaLog
from ray_pipeline.storage.kafka.topics import ensure_topics
from tests.certificates import Certificates, make_certificates
from tests.integration.test_recorded_input import add_companies, collecting, pointed
from tests.secured_kafka import KafkaSecurity, SecuredKafka
from tests.streams import make_settings, stored
from tests.support import eventually

PASSWORD = "correct-horse"
VALUES = [f"value {number}".encode() for number in range(100)]

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def security(certificates: Certificates) -> KafkaSecurity:
    return KafkaSecurity(users={"ann": PASSWORD}, certificate=certificates.server)


@pytest.fixture(scope="module")
def secured_kafka(servers_dir: Path, security: KafkaSecurity) -> Iterator[SecuredKafka]:
    server = SecuredKafka(servers_dir / "kafka-over-tls", security)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kafka(secured_kafka, certificates, topic_prefix) -> dict[str, object]:
    """The section of the settings that is right."""
    return {
        "bootstrap_servers": secured_kafka.listener("SASL_SSL"),
        "topic_prefix": topic_prefix,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "ann",
        "sasl_password": PASSWORD,
        "ssl_cafile": certificates.authority,
    }


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """The certificate of an authority that has signed nothing of ours."""
    return make_certificates(tmp_path).authority


def log_of(settings: Settings) -> KafkaLog:
    """Return the log that a consumer reads."""
    options = client_options(settings.kafka, settings.bootstrap_servers())
    return KafkaLog(options, settings.kafka.topic_prefix + feed_named("sp500").topic)


async def read(settings: Settings, count: int) -> list[bytes]:
    """Return the values in partition 0, from its beginning."""
    log = log_of(settings)
    await log.open()
    found: list[bytes] = []
    try:
        await log.start_at({0: 0})

        async def enough() -> bool:
            messages = await log.poll(timeout_s=0.2, max_records=1_000)
            found.extend(message.value for message in messages)
            return len(found) >= count

        await eventually(enough, what=f"{count} records")
    finally:
        await log.close()
    return found


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_what_is_published_over_tls_is_read_back(kafka, mechanism):
    """Topics, publisher, reader and the offsets that the audit asks for: all of them connect."""
    settings = load(kafka=kafka | {"sasl_mechanism": mechanism})
    topic = settings.kafka.topic_prefix + feed_named("sp500").topic
    await ensure_topics(settings)
    broker = KafkaBroker(settings)

    await broker.send(topic, [(0, b"AAPL", value) for value in VALUES])

    assert await broker.partitions(topic) == settings.feeds["sp500"].partitions
    await broker.close()
    assert await read(settings, len(VALUES)) == VALUES
    positions = await read_positions(settings, FEEDS)
    assert positions[topic, 0].end == len(VALUES)


async def test_a_pipeline_over_tls_stores_every_trade(kafka, postgres_dsn, redis_url, tmp_path):
    """From a provider to Postgres, and the audit is clean."""
    bare = make_settings(
        postgres_dsn, redis_url, "", "", shards=1, subscribe_pause_s=0, connect_pause_s=0
    )
    configured = bare.model_copy(update={"kafka": load(kafka=kafka).kafka})
    add_companies(postgres_dsn)
    async with FinnhubSimulator(FinnhubOptions(rate=200)) as simulator:
        here = pointed(configured, tmp_path, finnhub={"ws_url": simulator.url})
        async with collecting(here, "sp500", 1, ["AAPL", "MSFT"]):
            await eventually(lambda: stored(postgres_dsn) > 200, timeout_s=40, what="trades")
            await simulator.do_pause()
            await eventually(
                lambda: stored(postgres_dsn) == simulator.stats().sent, what="every trade"
            )
        audit = await run_audit(here, wait_s=10)
    assert audit.clean, audit.as_json()


async def test_an_unknown_authority_is_a_setting_to_be_mended(kafka, strangers):
    """The text says that the certificate is the trouble, and which settings to look at."""
    with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await ensure_topics(load(kafka=kafka | {"ssl_cafile": strangers}))

    assert "PIPELINE_KAFKA__SSL_" in caught.value.fix


async def test_a_publisher_keeps_its_records_while_the_authority_is_unknown(kafka, strangers):
    """For it this is an outage: the file can be put right while the records wait."""
    settings = load(kafka=kafka | {"ssl_cafile": strangers})
    broker = KafkaBroker(settings)

    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await broker.send("topic", [(0, b"key", b"value")])

    await broker.close()
    assert "PIPELINE_KAFKA__SSL_" in caught.value.fix


async def test_a_reader_says_that_the_authority_is_unknown(kafka, strangers):
    """A consumer waits too, and its status page shows this text."""
    log = log_of(load(kafka=kafka | {"ssl_cafile": strangers}))

    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await log.open()


async def test_positions_that_cannot_be_read_say_that_the_authority_is_unknown(kafka, strangers):
    """The audit shows it in place of a verdict."""
    settings = load(kafka=kafka | {"ssl_cafile": strangers})

    with pytest.raises((BrokerUnavailable, ConfigurationError), match="CERTIFICATE_VERIFY_FAILED"):
        await read_positions(settings, FEEDS)


async def test_a_wrong_password_over_tls_is_told_without_the_password(kafka):
    """The broker's word for it is in the text, the password is not."""
    settings = load(kafka=kafka | {"sasl_password": "battery-staple"})

    with pytest.raises(ConfigurationError, match="refuses the connection") as caught:
        await ensure_topics(settings)

    assert "PIPELINE_KAFKA__SASL_" in caught.value.fix
    assert "battery-staple" not in str(caught.value)


def test_a_certificate_file_that_is_not_there_is_named(kafka, tmp_path):
    """Before anything is connected."""
    settings = load(kafka=kafka | {"ssl_cafile": tmp_path / "nowhere.pem"})

    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        client_options(settings.kafka, settings.bootstrap_servers())


async def test_a_plain_client_at_the_tls_port_is_not_left_waiting(kafka):
    """It gives up, says where, and nothing else happens."""
    settings = load(kafka=kafka | {"security_protocol": "SASL_PLAINTEXT"})

    with pytest.raises((BrokerUnavailable, ConfigurationError), match=r"127\.0\.0\.1"):
        await ensure_topics(settings)
