"""
Settings: environment variables that begin with PIPELINE_, a `.env` file, a YAML file, defaults.

Two underscores separate a section from a name: `PIPELINE_KAFKA__BOOTSTRAP_SERVERS`. Each registered
provider is a section too: `PIPELINE_FINNHUB__REST_URL`. An unknown name is an error that suggests
the most similar name, because a misspelt setting would otherwise be ignored without notice. Each
feed has a section too: `PIPELINE_FEEDS__SP500__SHARDS`.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.redact import fingerprint

PREFIX = "PIPELINE_"
DELIMITER = "__"
# Read by the embedded servers, which have no other settings.
OTHER_NAMES = frozenset({"PIPELINE_HOME", "PIPELINE_KAFKA_LIBS", "PIPELINE_CONFIG"})

PASSWORD_PAIR = re.compile(r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&']+))")

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A group of settings; unknown names inside it are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PostgresSettings(Section):
    """Where history is kept."""

    dsn: SecretStr | None = Field(None, description="Connection string. Unset: an embedded server.")


class RedisSettings(Section):
    """Where the latest values are kept."""

    url: SecretStr | None = Field(None, description="Connection URL. Unset: an embedded server.")


class KafkaSettings(Section):
    """What carries the records."""

    bootstrap_servers: str | None = Field(
        None, description="host:port, comma separated. Unset: an embedded broker."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the broker."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="With SASL_*: the mechanism."
    )
    sasl_username: str | None = Field(None, description="With SASL_*: the user.")
    sasl_password: SecretStr | None = Field(None, description="With SASL_*: the password.")
    ssl_cafile: Path | None = Field(
        None, description="With *SSL: the CA's certificate. Unset: the system's."
    )
    ssl_certfile: Path | None = Field(None, description="With *SSL: a client certificate.")
    ssl_keyfile: Path | None = Field(None, description="With *SSL: the client certificate's key.")
    idempotence: bool = Field(
        True,
        description="Idempotent producer. Off for brokers without it, as the embedded one.",
    )
    replication_factor: int = Field(
        -1, ge=-1, description="For topics that are made. -1: the broker's default."
    )
    topic_prefix: str = Field("", description="Put before every topic's name.")


class StreamSettings(Section):
    """How the streams run."""

    consumers_per_topic: int = Field(
        1, ge=1, description="Consumer actors a topic, at most one a partition."
    )
    lease_ttl_s: Seconds = Field(15.0, description="How long an owner may be silent.")
    liveness_s: Seconds = Field(
        60.0, description="Least silence, in an open market, that counts as a stall."
    )
    market_hours: Literal["calendar", "always"] = Field(
        "calendar", description="When a silent feed is suspicious: in exchange hours, or always."
    )
    subscribe_pause_s: float = Field(0.05, ge=0, description="Pause after each subscription.")
    subscribe_rest_s: float = Field(1.0, ge=0, description="Pause after every twentieth one.")
    connect_pause_s: float = Field(
        0.25, ge=0, description="Least time between two connections, across the cluster."
    )
    backoff_base_s: Seconds = Field(0.5, description="First bound of the reconnect back-off.")
    backoff_cap_s: Seconds = Field(60.0, description="Last bound of the reconnect back-off.")
    frame_limit_bytes: int = Field(
        32 * 2**20, ge=2**20, description="A larger frame ends the connection; a gap says so."
    )
    spool_dir: Path | None = Field(
        None, description="Where records wait while the broker is away. Unset: PIPELINE_HOME/spool."
    )
    spool_limit_bytes: int = Field(
        2 * 2**30, ge=2**20, description="Most that one shard may spool; past it, a gap is written."
    )
    future_tolerance_s: Seconds = Field(
        300.0, description="A record dated further ahead than this is parked."
    )
    drain_s: Seconds = Field(30.0, description="How long a stop waits for records in flight.")
    batch_rows: int = Field(20_000, ge=1, description="Most records in one transaction.")
    publishes_per_s: float = Field(2.0, gt=0, description="Most publishes a channel gets.")


class FeedSettings(Section):
    """
    How one feed runs. `_feed_section` declares which of these values a feed has.

    Attributes:
        partitions: Partitions of the topic.
        ttl_s: Time to live of the latest values in Redis.
        shards: Configured connections of a feed with sharding.
        symbols_per_connection: Limit of a connection of a feed with sharding.
        poll_s: Pause between two rounds over REST.
    """

    partitions: int
    ttl_s: int
    shards: int = 1
    symbols_per_connection: int = 1
    poll_s: float = 1.0


def _feed_section(feed: Feed) -> type[Section]:
    """Return the section of a feed; the defaults come from the feed."""
    fields: dict[str, Any] = {
        "partitions": (
            int,
            Field(feed.partitions, ge=1, description=f"Partitions of {feed.topic}."),
        ),
        "ttl_s": (
            int,
            Field(feed.redis.ttl_s, ge=1, description="Time to live of its values in Redis."),
        ),
    }
    if feed.sharding is not None:
        fields["shards"] = (
            int,
            Field(feed.sharding.shards, ge=1, description="Connections, one per API key."),
        )
        fields["symbols_per_connection"] = (
            int,
            Field(
                feed.sharding.symbols_per_connection,
                ge=1,
                description=f"Limit of {feed.protocol.title}'s plan.",
            ),
        )
    if feed.protocol.poll is not None:
        fields["poll_s"] = (
            Seconds,
            Field(
                feed.protocol.poll.pause_s,
                description="Pause between REST rounds while the WebSocket is down.",
            ),
        )
    section: type[Section] = create_model(feed.name, __base__=Section, **fields)
    return section


def _feed_sections() -> type[Section]:
    """Return the section `feeds`, which holds a section per feed."""
    fields: dict[str, Any] = {}
    for feed in FEEDS:
        section = _feed_section(feed)
        fields[feed.name] = (section, section())
    model: type[Section] = create_model("feeds", __base__=Section, **fields)
    return model


def _feed_settings(sections: Section) -> dict[str, FeedSettings]:
    return {feed.name: FeedSettings(**getattr(sections, feed.name).model_dump()) for feed in FEEDS}


class ArchiveSettings(Section):
    """Raw records as Parquet files."""

    enabled: bool = Field(True, description="Write the archive.")
    dir: Path | None = Field(None, description="Where. Unset: PIPELINE_HOME/archive.")
    rows_per_file: int = Field(200_000, ge=1, description="A file is closed at this size.")
    seconds_per_file: Seconds = Field(300.0, description="A file is closed at this age.")


class JobSettings(Section):
    """How batch jobs run."""

    enabled: bool = Field(True, description="Run the batch jobs on schedule.")
    only: tuple[str, ...] = Field(
        (), description="Run only these on schedule, as a JSON list; empty: all of them."
    )
    at_once: int = Field(2, ge=1, description="Most scheduled runs at one time.")
    heartbeat_s: Seconds = Field(10.0, description="How often a run says that it lives.")
    takeover_s: Seconds = Field(
        90.0, description="A run that was silent this long is taken over by another."
    )
    retries: int = Field(3, ge=0, description="How often a failed run is tried again.")
    retry_pause_s: Seconds = Field(600.0, description="Pause before that; it doubles each time.")
    longest_wait_s: Seconds = Field(
        90.0, description="A run waits this long for a quota; past it, it is deferred."
    )
    speed: float = Field(
        1.0,
        gt=0,
        description="The providers' clock, for demos: 60 makes an hour a minute.",
    )
    submit: Literal["ray", "process"] = Field(
        "ray", description="Where scheduled runs go: Ray's Jobs API, or a plain process."
    )


class ApiSettings(Section):
    """The API and its page."""

    token: SecretStr | None = Field(
        None, description="What clients must show. Unset: a random one, printed at the start."
    )
    host: str = Field("127.0.0.1", description="Where `ray-pipeline api` listens.")
    port: int = Field(8000, ge=0, le=65_535, description="At which port; 0: any that is free.")
    cors_origins: tuple[str, ...] = Field(
        (), description="Pages of other hosts that may ask, as a JSON list; empty: none."
    )
    push_interval_s: Seconds = Field(
        1.0, description="Least time between two messages about a symbol, to one client."
    )
    max_clients: int = Field(2_000, ge=1, description="Most WebSocket clients at one time.")
    ready_s: Seconds = Field(
        300.0, description="/ready fails when no feed stored a record for so long."
    )
    simulated: tuple[str, ...] = Field(
        (), description="What is simulated, as a JSON list; pages say so. `up` and `demo` set it."
    )


class RaySettings(Section):
    """The Ray cluster that is started when RAY_ADDRESS names none."""

    namespace: str = Field("ray-pipeline", description="Where the actors live.")
    generation: int = Field(1, ge=1, description="The release; a newer one takes over.")
    num_cpus: float = Field(16.0, gt=0, description="Logical CPUs of a Ray that `up` starts.")
    object_store_bytes: int = Field(
        128 * 2**20, ge=78 * 2**20, description="Object store of a Ray that `up` starts."
    )


class EndpointSettings(Section):
    """How to reach a provider if not at its usual address."""

    rest_url: str | None = Field(None, description="Base URL of the REST API.")
    ws_url: str | None = Field(None, description="URL of the WebSocket.")
    ws_keys: list[SecretStr] | None = Field(
        None,
        description="Keys of the WebSocket, as a JSON list. Unset: those of PIPELINE_API_KEYS.",
    )


DEFAULT_ENDPOINT = EndpointSettings()


class Settings(Section):
    """Every setting. A process reads the settings once and passes this value on."""

    api_keys: dict[str, list[SecretStr]] = Field(
        default_factory=dict,
        description='Keys by provider, as JSON: {"finnhub": ["key of shard 1", ...]}.',
    )
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    kafka: KafkaSettings = KafkaSettings()
    streams: StreamSettings = StreamSettings()
    archive: ArchiveSettings = ArchiveSettings()
    jobs: JobSettings = JobSettings()
    api: ApiSettings = ApiSettings()
    ray: RaySettings = RaySettings()
    feeds: dict[str, FeedSettings] = Field(
        default_factory=lambda: _feed_settings(_feed_sections()()),
        description="The section of each feed, by the feed's name.",
    )
    endpoints: dict[str, EndpointSettings] = Field(
        default_factory=dict, description="The section of each provider, by the provider's name."
    )

    def endpoint(self, provider: str) -> EndpointSettings:
        """Return the section of a provider; a section without values if it is not configured."""
        return self.endpoints.get(provider, DEFAULT_ENDPOINT)

    def rest_urls(self) -> dict[str, str]:
        """Return the configured REST base URLs by provider."""
        urls = {name: section.rest_url for name, section in self.endpoints.items()}
        return {name: url for name, url in urls.items() if url}

    def keys(self, provider: str) -> list[str]:
        """Return a provider's keys in order, as plain text; empty if no key is set."""
        return _plain(self.api_keys.get(provider, []))

    def stream_keys(self, provider: str) -> list[str]:
        """Return the keys of a provider's WebSocket in order, as plain text."""
        ws_keys = self.endpoint(provider).ws_keys
        return self.keys(provider) if ws_keys is None else _plain(ws_keys)

    def stream_key_counts(self) -> dict[str, int]:
        """Return the number of WebSocket keys of each provider that feeds use."""
        providers = {feed.key_provider for feed in FEEDS if feed.key_provider is not None}
        return {name: len(self.stream_keys(name)) for name in sorted(providers)}

    def keys_by_provider(self) -> dict[str, list[str]]:
        """Return the keys of every registered provider, as plain text."""
        return {name: self.keys(name) for name in provider_names()}

    def key_fingerprints(self) -> dict[str, list[str]]:
        """Return the fingerprints of the keys of every registered provider."""
        return {
            name: [fingerprint(key) for key in keys]
            for name, keys in self.keys_by_provider().items()
        }

    def key_counts(self) -> dict[str, int]:
        """Return the number of keys of every registered provider."""
        return {name: len(keys) for name, keys in self.keys_by_provider().items()}

    def secrets(self) -> list[str]:
        """Return every value that must not appear in a text: keys, tokens and passwords."""
        keys = [key for keys in self.api_keys.values() for key in keys]
        stream_keys = [key for section in self.endpoints.values() for key in section.ws_keys or ()]
        credentials = (self.api.token, self.kafka.sasl_password)
        addresses = (self.postgres.dsn, self.redis.url)
        return [
            *_plain(keys),
            *_plain(stream_keys),
            *(secret.get_secret_value() for secret in credentials if secret is not None),
            *(
                password
                for address in addresses
                if address is not None
                for password in _passwords(address.get_secret_value())
            ),
        ]

    def postgres_dsn(self) -> str:
        """
        Return the Postgres connection string.

        Raises:
            ConfigurationError: If none is set.
        """
        return _required(self.postgres.dsn, "PIPELINE_POSTGRES__DSN", "postgresql://user@host/db")

    def redis_url(self) -> str:
        """
        Return the Redis URL.

        Raises:
            ConfigurationError: If none is set.
        """
        return _required(self.redis.url, "PIPELINE_REDIS__URL", "redis://host:6379/0")

    def bootstrap_servers(self) -> str:
        """
        Return Kafka's bootstrap servers.

        Raises:
            ConfigurationError: If none is set.
        """
        if not self.kafka.bootstrap_servers:
            raise _unset("PIPELINE_KAFKA__BOOTSTRAP_SERVERS", "host:9092")
        return self.kafka.bootstrap_servers


def _passwords(address: str) -> Iterator[str]:
    """Yield the password in a URL, or in Postgres' key=value form."""
    for quoted, plain in PASSWORD_PAIR.findall(address):
        yield re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
    try:
        password = urlsplit(address).password
    except ValueError:
        return
    if password is not None:
        yield unquote(password)


def _plain(secrets: list[SecretStr]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


class _Sources(BaseSettings):
    """Reads the settings; `reader` adds a field for each setting and for each provider."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="forbid",
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, `.env`, the YAML file of PIPELINE_CONFIG."""
        # PIPELINE_CONFIG names a source of settings, so it cannot be a setting itself.
        yaml = YamlConfigSettingsSource(
            settings_cls, yaml_file=os.environ.get("PIPELINE_CONFIG", "ray-pipeline.yaml")
        )
        return init_settings, env_settings, dotenv_settings, yaml


@cache
def reader() -> type[_Sources]:
    """
    Return the model that reads the sources: the fields of Settings, and a section per provider.

    pydantic-settings finds only variables of declared fields, while Settings holds the sections of
    providers in one mapping. A model that is built from the registry reads them; it never leaves
    this module, so `Settings` stays a plain value that can be pickled.

    Raises:
        ConfigurationError: If a provider has the name of another section.
    """
    sections: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in Settings.model_fields.items()
        if name not in {"endpoints", "feeds"}
    }
    feeds = _feed_sections()
    sections["feeds"] = (feeds, feeds())
    for name in _endpoint_names():
        if name in Settings.model_fields:
            raise ConfigurationError(
                f"the provider {name!r} has the name of a section of the settings",
                fix=f"rename the provider in ray_pipeline/providers/{name}.py",
            )
        sections[name] = (EndpointSettings, DEFAULT_ENDPOINT)
    model: type[_Sources] = create_model("_Reader", __base__=_Sources, **sections)
    return model


def load(**overrides: object) -> Settings:
    """
    Read the settings.

    Args:
        overrides: Sections that replace those of the other sources, such as `fred={"rest_url": x}`.

    Raises:
        ConfigurationError: If a name is unknown or a value is invalid; the error lists every
            problem.
    """
    problems = list(_unknown_names(os.environ))
    try:
        read: Callable[..., _Sources] = reader()
        sources = read(**overrides)
    except ValidationError as error:
        problems += [_explain(detail["loc"], detail["msg"]) for detail in error.errors()]
        raise ConfigurationError("\n".join(problems), fix=_HINT) from None
    except ValueError as error:
        # The source reports a complex value that is not JSON before validation.
        problems.append(f"{error.__cause__ or error}: {error}")
        raise ConfigurationError("\n".join(problems), fix=_HINT) from None
    if problems:
        raise ConfigurationError("\n".join(problems), fix=_HINT)
    return _settings(sources)


def _settings(sources: _Sources) -> Settings:
    values = {name: getattr(sources, name) for name in sources.model_fields_set}
    endpoints = {name: values.pop(name) for name in _endpoint_names() if name in values}
    if "feeds" in values:
        values["feeds"] = _feed_settings(values["feeds"])
    return Settings(**values, endpoints=endpoints)


def _endpoint_names() -> list[str]:
    """Return every provider and every venue; a venue needs no provider of batch data."""
    return sorted({*provider_names(), *(feed.protocol.venue for feed in FEEDS)})


_HINT = "docs/settings.md lists every setting with its type and default"


def _required(value: SecretStr | None, name: str, example: str) -> str:
    if value is None:
        raise _unset(name, example)
    return value.get_secret_value()


def _unset(name: str, example: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is not set",
        fix=f"set it, for example {name}={example}; or run `ray-pipeline local up` "
        'and `eval "$(ray-pipeline local env)"`',
    )


def variable_name(path: tuple[str | int, ...]) -> str:
    """Return the environment variable that sets the value at `path`."""
    return PREFIX + DELIMITER.join(str(part) for part in path).upper()


def known_names() -> frozenset[str]:
    """Return the name of every setting, as an environment variable."""
    return frozenset(variable_name(path) for path, _ in fields()) | OTHER_NAMES


def fields() -> Iterator[tuple[tuple[str, ...], "FieldFacts"]]:
    """Yield the path, type, default and description of every setting, in order."""
    for name, info in reader().model_fields.items():
        if _is_section(info.annotation):
            yield from _section_fields((name,), info.annotation)
        else:
            yield (name,), FieldFacts(str(info.annotation), {}, info.description or "")


def _section_fields(
    path: tuple[str, ...], section: type[Section]
) -> Iterator[tuple[tuple[str, ...], "FieldFacts"]]:
    for name, info in section.model_fields.items():
        if _is_section(info.annotation):
            yield from _section_fields((*path, name), info.annotation)
        else:
            annotation = str(info.annotation)
            facts = FieldFacts(annotation, info.get_default(), info.description or "")
            yield (*path, name), facts


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


class FieldFacts:
    """What the documentation says about one setting."""

    __slots__ = ("annotation", "default", "description")

    def __init__(self, annotation: str, default: object, description: str) -> None:
        self.annotation = annotation
        self.default = default
        self.description = description


def _unknown_names(environ: Mapping[str, str]) -> Iterator[str]:
    known = known_names()
    sections = {variable_name((name,)) for name in reader().model_fields}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.upper() not in known | sections:
            yield _suggest(name)


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name.upper(), sorted(known_names()), n=1, cutoff=0.6)
    return f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _explain(location: tuple[int | str, ...], message: str) -> str:
    name = variable_name(location)
    if message.startswith("Extra inputs"):
        return _suggest(name)
    return f"{name}: {message[0].lower()}{message[1:]}"
