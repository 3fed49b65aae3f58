"""
Settings: environment variables that begin with PIPELINE_, a `.env` file, a YAML file, defaults.

Two underscores separate a section from a name: `PIPELINE_KAFKA__BOOTSTRAP_SERVERS`. Each registered
provider is a section too: `PIPELINE_FINNHUB__REST_URL`. An unknown name is an error that suggests
the most similar name, because a misspelt setting would otherwise be ignored without notice. Each
feed has a section too: `PIPELINE_FEEDS__SP500__SHARDS`.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
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
from ray_pipeline.redact import MASK, fingerprint

PREFIX = "PIPELINE_"
DELIMITER = "__"
# Variables with the prefix that are not settings: the folder of Kafka's jars, and the YAML file.
OTHER_NAMES = frozenset({"PIPELINE_KAFKA_LIBS", "PIPELINE_CONFIG"})

PASSWORD_PAIR = re.compile(r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&']+))")

Seconds = Annotated[float, Field(gt=0)]


def _absolute(path: object) -> Path | None:
    # An empty variable counts as unset. A relative path would change its meaning in a process with
    # another working directory.
    return Path(str(path)).absolute() if path else None


Home = Annotated[Path | None, BeforeValidator(_absolute)]


class Section(BaseModel):
    """A group of settings; unknown names inside it are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PostgresSettings(Section):
    """The database of the history."""

    dsn: SecretStr | None = Field(None, description="Connection string. Unset: an embedded server.")


class RedisSettings(Section):
    """The store of the latest values."""

    url: SecretStr | None = Field(None, description="Connection URL. Unset: an embedded server.")
    budget_mb: int = Field(
        128,
        ge=1,
        description="Memory of the values of single seconds, of all feeds; older ones make room.",
    )
    realtime_keys: int = Field(
        60,
        ge=0,
        description="Newest seconds of a symbol with a key realtime:*, in a quarter of the budget.",
    )


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
    """The archive: raw records as Parquet files."""

    enabled: bool = Field(True, description="Write the archive.")
    dir: Path | None = Field(None, description="Folder. Unset: PIPELINE_HOME/archive.")
    rows_per_file: int = Field(200_000, ge=1, description="A file is closed at this size.")
    seconds_per_file: Seconds = Field(300.0, description="A file is closed at this age.")


class JobSettings(Section):
    """The batch jobs."""

    enabled: bool = Field(True, description="Run the batch jobs on schedule.")
    only: tuple[str, ...] = Field(
        (), description="Run only these on schedule, as a JSON list; empty: all of them."
    )
    at_once: int = Field(2, ge=1, description="Most scheduled runs at one time.")
    heartbeat_s: Seconds = Field(10.0, description="Interval of a run's heartbeats.")
    takeover_s: Seconds = Field(
        90.0, description="A run without a heartbeat for this long is taken over."
    )
    retries: int = Field(3, ge=0, description="Retries of a failed run.")
    retry_pause_s: Seconds = Field(
        600.0, description="Pause before the first retry; it doubles each time."
    )
    longest_wait_s: Seconds = Field(
        90.0, description="Longest wait for a permit; a run that would wait longer is deferred."
    )
    speed: float = Field(
        1.0,
        gt=0,
        description="Speed of the clock of quotas, for demos: 60 turns an hour into a minute.",
    )
    submit: Literal["ray", "process"] = Field(
        "ray",
        description="How scheduled runs start: through Ray's Jobs API, or as plain processes.",
    )


class ApiSettings(Section):
    """The API and its page."""

    token: SecretStr | None = Field(
        None, description="Token that clients must send. Unset: a random one, printed at the start."
    )
    host: str = Field("127.0.0.1", description="Address at which `ray-pipeline api` listens.")
    port: int = Field(
        8000, ge=0, le=65_535, description="Port of `ray-pipeline api`; 0: any free port."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins that may call the API, as a JSON list; empty: only its own."
    )
    push_interval_s: Seconds = Field(
        1.0, description="Least time between two messages about a symbol to one client."
    )
    max_clients: int = Field(2_000, ge=1, description="Most WebSocket clients at one time.")
    ready_s: Seconds = Field(
        300.0, description="/ready fails if no feed has stored a record for this long."
    )
    simulated: tuple[str, ...] = Field(
        (),
        description="Names of simulated data, as a JSON list; set by `up` and `demo`.",
    )


class RaySettings(Section):
    """The Ray cluster that is started when RAY_ADDRESS names none."""

    namespace: str = Field("ray-pipeline", description="Ray namespace of the actors.")
    generation: int = Field(
        1, ge=1, description="Number of the running release; a newer one takes over."
    )
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

# A key contains digits almost always, the name of a provider never.
PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z _-]{0,23}")


def _with_registered_providers(keys: object) -> object:
    """
    Return the keys by provider unchanged.

    Raises:
        PydanticCustomError: If a name is not that of a provider: its keys would never be used.
    """
    names = _endpoint_names()
    unknown = [name for name in keys if name not in names] if isinstance(keys, Mapping) else []
    if unknown:
        problems = ", ".join(_unknown_provider(str(name), names) for name in unknown)
        # Braces would be placeholders of the template.
        text = f"{problems}; the providers are {', '.join(names)}"
        raise PydanticCustomError("unknown_provider", "{text}", {"text": text})
    return keys


def _unknown_provider(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    # Keys and names may be swapped by mistake, and no key may appear in an error.
    shown = repr(name) if PLAIN_NAME.fullmatch(name) else MASK
    return f"{shown} is not a provider" + (f" (did you mean {close[0]}?)" if close else "")


# Checked before the values, because errors of values contain the names.
ApiKeys = Annotated[dict[str, list[SecretStr]], BeforeValidator(_with_registered_providers)]


class Settings(Section):
    """Every setting. A process reads the settings once and passes this value on."""

    api_keys: ApiKeys = Field(
        default_factory=dict,
        description='Keys by provider, as JSON: {"finnhub": ["key of shard 1", ...]}.',
    )
    home: Home = Field(
        None,
        description="Where everything local lives. Unset: ray-pipeline in the user's data "
        "directory.",
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

    def home_dir(self) -> Path:
        """
        Return where everything local lives.

        The default depends on the user and the machine. A value that travels to another node leaves
        `home` unset, so that each node computes its own default.
        """
        if self.home is not None:
            return self.home
        # The variable of the XDG convention, not a setting.
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(data) / "ray-pipeline"

    def changed(self, **sections: object) -> "Settings":
        """
        Return the settings with other values in some sections, which are validated.

        Args:
            sections: For a section or a provider the values that change, as a mapping; for another
                setting its value.
        """
        values = dict(_explicit(self))
        endpoints = dict(self.endpoints)
        for name, value in sections.items():
            if name in _endpoint_names():
                endpoints[name] = _merged(self.endpoint(name), value)
            else:
                values[name] = _merged(getattr(self, name), value)
        return Settings(**values | {"endpoints": endpoints})

    def environment(self) -> dict[str, str]:
        """
        Return the variables with which `load` in another process returns these settings.

        They include secrets. Settings that have their default are left out.
        """
        values = dict(_explicit(self))
        endpoints: dict[str, Any] = values.pop("endpoints", {})
        return dict(_variables((), values | endpoints))

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


def _merged(current: Any, update: Any) -> Any:
    if _is_mapping_of_sections(current):
        return current | {name: _merged(current[name], value) for name, value in update.items()}
    if not isinstance(current, Section):
        return update
    return type(current)(**dict(_explicit(current)) | update)


def _explicit(section: Section) -> Iterator[tuple[str, Any]]:
    """Yield the names and values that do not come from the defaults, in order."""
    for name in type(section).model_fields:
        if name in section.model_fields_set:
            yield name, getattr(section, name)


def _variables(path: tuple[str, ...], values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Section):
            yield from _variables((*path, name), dict(_explicit(value)))
        elif _is_mapping_of_sections(value):
            yield from _variables((*path, name), value)
        elif value is not None:
            yield variable_name((*path, name)), _as_text(value)


def _is_mapping_of_sections(value: object) -> TypeGuard[dict[str, Section]]:
    return isinstance(value, dict) and any(isinstance(each, Section) for each in value.values())


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr | str | Path):
        return _unquoted(value)
    return json.dumps(value, default=_unquoted)


def _unquoted(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, str | Path):
        return str(value)
    raise TypeError(f"a setting of type {type(value).__name__} has no text")


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
        file = YamlConfigSettingsSource(settings_cls, yaml_file=_config_file())
        return init_settings, env_settings, dotenv_settings, file


def _config_file() -> str:
    # PIPELINE_CONFIG names a source of settings, so it cannot be a setting itself.
    return os.environ.get("PIPELINE_CONFIG", "ray-pipeline.yaml")


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
    # The source of variables ignores unknown names.
    problems = list(_unknown_names(os.environ))
    try:
        read: Callable[..., _Sources] = reader()
        sources = read(**overrides)
    except ValidationError as error:
        problems += [_explain(detail["loc"], detail["msg"]) for detail in error.errors()]
        raise _invalid(problems) from None
    except yaml.YAMLError as error:
        raise _invalid([*problems, _malformed_file(error)]) from None
    except ValueError as error:
        # The source reports a complex value that is not JSON before validation.
        problems.append(f"{error.__cause__ or error}: {error}")
        raise _invalid(problems) from None
    if problems:
        raise _invalid(problems)
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


def _invalid(problems: Iterable[str]) -> ConfigurationError:
    # A variable with an unknown name in a section is found twice: in the environment, and by the
    # section.
    return ConfigurationError(
        "\n".join(dict.fromkeys(problems)),
        fix="docs/settings.md lists every setting with its type and default",
    )


def _malformed_file(error: yaml.YAMLError) -> str:
    # Only the place: the error's text quotes tags and aliases, and a key that begins with "!" or
    # "*" is one.
    mark = getattr(error, "problem_mark", None)
    return f"{_config_file()} is not valid YAML" + (f": line {mark.line + 1}" if mark else "")


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
            yield (name,), _facts(info)


def _section_fields(
    path: tuple[str, ...], section: type[Section]
) -> Iterator[tuple[tuple[str, ...], "FieldFacts"]]:
    for name, info in section.model_fields.items():
        if _is_section(info.annotation):
            yield from _section_fields((*path, name), info.annotation)
        else:
            yield (*path, name), _facts(info)


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _facts(info: FieldInfo) -> "FieldFacts":
    default = info.get_default(call_default_factory=True)
    return FieldFacts(str(info.annotation), default, info.description or "")


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """The documentation of one setting."""

    annotation: str
    default: object
    description: str


def _unknown_names(environ: Mapping[str, str]) -> Iterator[str]:
    names = known_names()
    sections = {variable_name((name,)) for name in reader().model_fields}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.upper() not in names | sections:
            yield _suggest(name)


def _suggest(name: str) -> str:
    if name in OTHER_NAMES:
        return f"{name} cannot be set in a file: set it in the environment"
    close = difflib.get_close_matches(name.upper(), sorted(known_names()), n=1, cutoff=0.6)
    return f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _explain(location: tuple[int | str, ...], message: str) -> str:
    name = variable_name(location)
    # The source of `.env` reports an unknown name as it is in the file, with the prefix.
    name = name.replace(PREFIX * 2, PREFIX, 1)
    if message.startswith("Extra inputs"):
        return _suggest(name)
    return f"{name}: {message[0].lower()}{message[1:]}"
