"""Providers that echo the key, in every form and place: it arrives nowhere."""

import asyncio
import contextlib
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import psycopg
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from psycopg import sql
from pydantic import SecretStr

from ray_pipeline.catalog import job
from ray_pipeline.errors import ConfigurationError, FeedRefused, FeedUnavailable
from ray_pipeline.feeds import finnhub
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.providers.x import PROVIDER as X
from ray_pipeline.redact import MASK
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.connection import connect
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.storage.redis.latest_cache import client
from ray_pipeline.storage.redis.latest_reader import LatestReader
from ray_pipeline.storage.websocket import open_websocket
from tests.echoes import FORMS, decodings
from tests.integration.api.serving import serving
from tests.integration.storage.test_archive_writer import archived, archiving
from tests.integration.test_recorded_input import add_companies, collecting, pointed
from tests.streams import make_settings, rows
from tests.support import eventually

KEY = 'c8/x+Q="a\\b&1%2<d0e'
USER, PASSWORD = "somebody@example.com", 'p/w+D="a\\b&1%2'
LARGEST_BYTES = 2**22
SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
Answer = Callable[[web.Request], web.StreamResponse]


def echoes(key: str = KEY) -> list[str]:
    """Return every form of a key; each once."""
    return list(dict.fromkeys(write(key) for write in FORMS.values()))


def assert_absent(text: str, key: str = KEY) -> None:
    """Check that a text has the key in no form, and that no reader finds it."""
    for written in (*echoes(key), *(json.dumps(form)[1:-1] for form in echoes(key))):
        assert written not in text, text[max(0, text.find(written) - 80) :][:200]
    for read in decodings(text):
        assert key not in read, read[max(0, read.find(key) - 80) :][:200]


def everything(dsn: str) -> str:
    """Return all that is in a database, a value a line."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relkind = 'r' AND nspname = 'public'"
        ).fetchall()
        values = [
            value
            for (name,) in tables
            for (row,) in connection.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(name))
            )
            for value in row.values()
        ]
    return "\n".join(map(_plain, values))


def _plain(value: object) -> str:
    if isinstance(value, str) and value.startswith("\\x"):  # bytes
        return bytes.fromhex(value[2:]).decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return "\n".join(map(_plain, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


@contextlib.asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server at a free port that answers everything with one function; its URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


# One call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("provider", [ALPHA_VANTAGE, FINNHUB, X], ids=lambda each: each.name)
async def test_an_answer_has_no_key_in_its_body_or_headers(provider, status, caplog):
    """Whatever the status, and the body is still the JSON that it was."""
    caplog.set_level(logging.DEBUG)

    def answer(request: web.Request) -> web.Response:
        headers = {f"X-Echo-{index}": form for index, form in enumerate(echoes())}
        headers["Set-Cookie"] = f"{KEY}={KEY}; {KEY}"
        body = {
            "forms": echoes(),
            "url": str(request.url),
            "headers": list(request.headers.values()),
        }
        return web.Response(
            body=json.dumps(body).encode(), status=status, headers=headers, reason=quote(KEY)
        )

    async with answering(answer) as url, Clients({provider.name: url}) as clients:
        request = Request("item", "/here", {"symbol": "AAPL"})
        found = await clients.fetch(provider, request, key=KEY, largest_bytes=LARGEST_BYTES)

    assert found.status == status
    assert all(MASK in form for form in found.body()["forms"])
    for text in (found.text, *found.headers.values(), caplog.text):
        assert_absent(text)


async def test_a_charset_that_does_not_exist_is_no_error_with_its_name():
    """The name may be the key, and an unknown one raises an error that quotes it."""

    def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=b"{}", headers={"Content-Type": f'application/json; charset="{quote(KEY)}"'}
        )

    async with answering(answer) as url, Clients({"finnhub": url}) as clients:
        found = await clients.fetch(
            FINNHUB, Request("item", "/here"), key=KEY, largest_bytes=LARGEST_BYTES
        )

    assert found.text == "{}"
    assert_absent(str(found))


@pytest.mark.parametrize("where", ["login", "call"])
async def test_neither_user_nor_password_nor_token_of_a_login_is_in_an_answer(where):
    """The token is as good as the password, and is no setting: only the client knows it."""
    token = 'tok/en+"=\\&%0'
    parts = (USER, PASSWORD, f"{USER}:{PASSWORD}", token)

    def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/token") and where == "call":
            return web.json_response({"access_token": token})
        return web.json_response(
            {"echo": [form for part in parts for form in echoes(part)]}, status=401
        )

    async with answering(answer) as url, Clients({"truth_social": url}) as clients:
        found = await clients.fetch(
            TRUTH_SOCIAL,
            Request("item", "/here"),
            key=f"{USER}:{PASSWORD}",
            largest_bytes=LARGEST_BYTES,
        )

    assert found.status == 401
    for part in parts if where == "call" else parts[:3]:
        assert_absent(found.text, part)


# Batch jobs -------------------------------------------------------------------------------------


def echoing_news(forms: list[str]) -> list[dict[str, object]]:
    """Articles with every form in every field, one that cannot be read among them each time."""
    good = [
        {
            "category": form, "datetime": 1_790_000_000 + index, "headline": form, "id": index + 1,
            "image": f"https://x.example/?token={form}", "related": form, "source": form,
            "summary": f"see {form}", "url": f"https://x.example/{form}?a=b",
        }
        for index, form in enumerate(forms)
    ]  # fmt: skip
    bad = [{"id": form, "datetime": form, form: form} for form in forms]
    return good + bad


@pytest.fixture
def configured(postgres_dsn) -> Callable[..., Settings]:
    """Settings with keys, and endpoints as given."""

    def configure(**endpoints: str) -> Settings:
        pair = f"{USER}:{PASSWORD}"
        names = ("finnhub", "fred", "alpha_vantage", "newsapi", "coingecko", "x", "fmp")
        return load(
            postgres={"dsn": postgres_dsn},
            api_keys={"truth_social": [pair]} | {name: [KEY] for name in names},
            jobs={"speed": 100_000},
            **{name: {"rest_url": url} for name, url in endpoints.items()},
        )

    return configure


async def test_rows_letters_and_payloads_of_a_job_have_no_key(
    configured, postgres_dsn, redis_url, caplog
):
    """Good articles are stored with a mask, bad ones parked with theirs, and the API shows both."""
    caplog.set_level(logging.DEBUG)
    body = json.dumps(echoing_news(echoes()))

    async with answering(lambda _: web.Response(text=body, content_type="application/json")) as url:
        settings = configured(finnhub=url)
        outcome = await collect(settings, job("market_news_finnhub"), SLOT)

    assert outcome.counts.new == 4 * len(echoes())
    assert outcome.counts.parked == 4 * len(echoes())
    assert rows(postgres_dsn, "SELECT 1 FROM market_news_finnhub WHERE headline = %s", MASK)
    assert rows(postgres_dsn, "SELECT 1 FROM payloads")
    assert rows(postgres_dsn, "SELECT 1 FROM dead_letters")
    assert_absent(everything(postgres_dsn))
    assert_absent(caplog.text)
    shown = settings.model_copy(
        update={"redis": settings.redis.model_copy(update={"url": SecretStr(redis_url)})}
    )
    async with serving(shown) as api:
        for path in ("/v1/runs", "/v1/jobs", "/v1/quotas", "/v1/health", "/why"):
            assert_absent((await api.ask(path))[1].decode())


REFUSALS = [
    ("cpi", "fred", 400, "{form}"),
    ("cpi", "fred", 200, "not JSON: {form}"),
    ("cpi", "fred", 200, '{{"error_message": {quoted}, "observations": [{{"date": {quoted}}}]}}'),
    ("market_news_finnhub", "finnhub", 401, '{{"error": {quoted}}}'),
    ("market_news_finnhub", "finnhub", 429, "{form}"),
    ("market_news_finnhub", "finnhub", 403, "{form} access to this resource"),
    ("coingecko_global", "coingecko", 429, '{{"status": {{"error_code": 10002, "m": {quoted}}}}}'),
    (
        "market_news",
        "newsapi",
        401,
        '{{"status":"error","code":"apiKeyInvalid","message":{quoted}}}',
    ),
    ("top_gainers", "alpha_vantage", 200, '{{"Information": {quoted}}}'),
    ("top_gainers", "alpha_vantage", 200, '{{"Error Message": {quoted}}}'),
    ("top_gainers", "alpha_vantage", 200, '{{"Note": {quoted}, {quoted}: 1}}'),
]


@pytest.mark.parametrize(("name", "provider", "status", "shape"), REFUSALS)
async def test_a_refusal_that_echoes_the_key_is_written_down_without_it(
    configured, postgres_dsn, caplog, name, provider, status, shape
):
    """In the reason of the run, of the item, and of the key that rests."""
    caplog.set_level(logging.DEBUG)
    form = f"your key {' '.join(echoes())}"
    body = shape.format(form=form, quoted=json.dumps(form))

    async with answering(lambda _: web.Response(text=body, status=status)) as url:
        settings = configured(**{provider: url}).model_copy(
            update={"api_keys": {provider: [SecretStr(KEY)]}}
        )
        outcome = await collect(settings, job(name), SLOT)

    assert outcome.why
    assert_absent(outcome.why)
    assert_absent(everything(postgres_dsn))
    assert_absent(caplog.text)


class EchoingFetcher:
    """A client that raises what no client should."""

    async def fetch(
        self, provider: Provider, request: Request, *, key: str, largest_bytes: int, next_call
    ):
        raise RuntimeError(f"GET https://finnhub.example/?token={quote(key)} failed")


async def test_an_unexpected_error_is_written_down_without_the_key(
    configured, postgres_dsn, caplog
):
    """A library may raise anything, with the URL in its text; it costs the item, not the run."""
    spec = job("market_news_finnhub")

    outcome = await collect(configured(), spec, SLOT, fetcher=EchoingFetcher())

    assert outcome.state == "failed"
    assert "RuntimeError" in outcome.why
    assert_absent(outcome.why)
    assert_absent(everything(postgres_dsn))
    assert_absent(caplog.text)


# Streams ----------------------------------------------------------------------------------------


def frames() -> Iterator[str]:
    """Frames with every form where Finnhub has texts, good ones and each kind of bad one."""
    for form in echoes():
        trade = {"s": f"S {form}", "p": 1.5, "v": 1, "t": 1_700_000_000_000, "c": ["1", form]}
        yield json.dumps({"type": "trade", "data": [trade]})
        yield json.dumps({"type": "trade", "data": [trade, {"s": form, "p": "none", form: form}]})
        yield json.dumps({"type": form})
        yield json.dumps({"type": "trade", "data": form})
        yield json.dumps({"type": "error", "msg": f"bad token {form}"})
        yield f"no JSON: {form}"
        yield f'{{"type": "trade", "data": [{{"s": "{form}"'


class EchoingProvider:
    """A WebSocket that echoes its client's key in all it sends, then in how it ends."""

    def __init__(self) -> None:
        self.connections = 0
        self.sent = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        reasons = [form for form in echoes() if len(form.encode()) < 110]
        match self.connections:
            case 1:
                return await self._talk(request, reasons[0])
            case number if number <= len(reasons):
                return await self._talk(request, reasons[number - 1], silent=True)
            case number if number == len(reasons) + 1:
                return web.Response(status=403, text="\n".join(echoes()), reason=quote(KEY))
            case number if number == len(reasons) + 2:
                return web.Response(status=302, headers={"Location": f"ws://{quote(KEY)}.example/"})
            case _:
                return await self._talk(request, "", silent=True, stay=True)

    async def _talk(
        self, request: web.Request, reason: str, *, silent: bool = False, stay: bool = False
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        if not silent:
            for frame in frames():
                await socket.send_str(frame)
        await socket.send_str(
            '{"type":"trade","data":[{"s":"AAPL","p":1,"v":1,"t":1700000000000,"c":null}]}'
        )
        if stay:
            self.sent.set()
            async for _ in socket:
                pass
        await socket.close(code=4000, message=f"bye {reason}".encode())
        return socket


@contextlib.asynccontextmanager
async def echoing_stream() -> AsyncIterator[tuple[str, EchoingProvider]]:
    provider = EchoingProvider()
    app = web.Application()
    app.router.add_get("/", provider.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name.replace("http", "ws"), provider
    finally:
        await runner.cleanup()


async def in_kafka(settings: Settings) -> list[str]:
    """Return keys and values of everything that was published."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers())
    await consumer.start()
    try:
        topic = settings.kafka.topic_prefix + feed_named("sp500").topic
        places = [TopicPartition(topic, number) for number in range(3)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        found = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                found += [(m.key or b"").decode() + "\n" + m.value.decode() for m in messages]
        return found
    finally:
        await consumer.stop()


async def test_a_stream_that_echoes_its_key_brings_it_nowhere(
    postgres_dsn, redis_url, kafka_server, topic_prefix, tmp_path, caplog
):
    """Frames, close reasons, refusals and redirects; Kafka, tables, files, logs and the API."""
    caplog.set_level(logging.DEBUG)
    base = make_settings(
        postgres_dsn, redis_url, kafka_server.bootstrap_servers, topic_prefix,
        shards=1, subscribe_pause_s=0, subscribe_rest_s=0, connect_pause_s=0,
        market_hours="always", backoff_base_s=0.01, backoff_cap_s=0.02, liveness_s=30.0,
    )  # fmt: skip
    add_companies(postgres_dsn)
    async with echoing_stream() as (url, provider):
        settings = pointed(base, tmp_path / "spool", finnhub={"ws_url": url}).model_copy(
            update={"api_keys": {"finnhub": [SecretStr(KEY)]}}
        )
        async with collecting(settings, "sp500", 1, ["AAPL"]), archiving(settings, tmp_path):
            await eventually(provider.sent.is_set, timeout_s=60, what="the last connection")
            await eventually(
                lambda: rows(postgres_dsn, "SELECT 1 FROM gaps WHERE cause ~ 'redirects'"),
                what="the gap of the redirect",
            )
    published = await in_kafka(settings)
    stored = archived(tmp_path)

    reasons = {reason for (reason,) in rows(postgres_dsn, "SELECT reason FROM dead_letters")}
    assert reasons >= {"not_json", "wrong_shape", "unknown_type"}
    kinds = {kind for (kind,) in rows(postgres_dsn, "SELECT kind FROM gaps")}
    assert kinds >= {"disconnected", "refused"}
    assert len(published) > 6 * len(echoes())
    assert len(stored) == len(published)
    in_files = [
        text.decode() for message in stored for text in (message.key, message.value) if text
    ]
    for text in (*published, *in_files):
        assert_absent(text)
    assert any(MASK in text for text in published)
    assert_absent(everything(postgres_dsn))
    assert_absent(caplog.text)
    async with serving(settings) as api:
        for path in (
            "/v1/gaps", "/v1/health", "/why", "/v1/feeds", "/v1/feeds/sp500/symbols",
            "/v1/feeds/sp500/latest",
        ):  # fmt: skip
            assert_absent((await api.ask(path))[1].decode())


HANDSHAKES = [
    "HTTP/1.1 {key} no status\r\n\r\n",
    "{key}\r\n\r\n",
    "HTTP/1.1 101 {key}\r\nUpgrade: {key}\r\nConnection: {key}\r\n\r\n",
    "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {key}\r\n\r\n",
    "HTTP/1.1 500 {key}\r\nX: {key}\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 429 {key}\r\nRetry-After: {key}\r\n\r\n{key}",
    "HTTP/1.1 302 {key}\r\nLocation: http://[{key}\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 302 {key}\r\nLocation: https://{key}/\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno header {key}\r\n\r\n",
]


@pytest.mark.parametrize("handshake", HANDSHAKES)
@pytest.mark.parametrize("form", ["plain", "URL", "base64"])
async def test_no_handshake_brings_the_key_into_an_error(handshake, form, caplog):
    """Neither into its text nor into the traceback that a log would show."""
    caplog.set_level(logging.DEBUG)
    reply = handshake.format(key=FORMS[form](KEY)).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises((FeedUnavailable, FeedRefused)) as failed:
            async with open_websocket(
                finnhub.url(f"ws://127.0.0.1:{port}", KEY),
                venue="finnhub",
                frame_limit_bytes=2**20,
                key=KEY,
            ):
                pass

    assert_absent("".join(traceback.format_exception(failed.value)))
    assert_absent(caplog.text)


# Settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres//user:planted-pw@host/db",
        "host=localhost planted-pw",
        "postgresql://user:planted-pw%zz@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password='planted-pw",
    ],
)
async def test_a_connection_string_that_cannot_be_read_is_not_quoted(dsn):
    """The library quotes what it cannot read."""
    with pytest.raises(ConfigurationError) as failed:
        await connect(dsn, name="test")

    assert "planted" not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("make", [client, LatestReader])
@pytest.mark.parametrize("url", ["redis://:planted/pw@host:6379", "redis//:planted@host"])
def test_a_url_of_redis_that_cannot_be_read_is_not_quoted(make, url):
    """The library takes what stands before an unescaped slash for a port, and says so."""
    with pytest.raises(ConfigurationError) as failed:
        make(url)

    assert "planted" not in "".join(traceback.format_exception(failed.value))


def test_every_secret_of_the_settings_is_known():
    """Keys of all kinds, and the passwords in addresses."""
    settings = load(
        postgres={"dsn": "host=h user=u password='pg pass\\'word' dbname=d"},
        redis={"url": "redis://:redis%2Fpass@h:6379/0"},
        kafka={"sasl_password": "kafka-pass"},
        api={"token": "api-token"},
        api_keys={"fred": ["key-1"], "truth_social": ["user:password"]},
        finnhub={"ws_keys": ["key-2"]},
    )

    wanted = {"pg pass'word", "redis/pass", "kafka-pass", "api-token", "key-1", "user:password"}
    assert {*settings.secrets()} == {*wanted, "key-2"}
