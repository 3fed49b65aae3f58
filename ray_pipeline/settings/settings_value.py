"""The value that holds every setting."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings.api_keys import ApiKeys, endpoint_names
from ray_pipeline.settings.feed_sections import (
    FeedSettings,
    changed_feeds,
    feed_sections,
    feed_settings,
)
from ray_pipeline.settings.sections import (
    DEFAULT_ENDPOINT,
    ApiSettings,
    ArchiveSettings,
    EndpointSettings,
    JobSettings,
    KafkaSettings,
    PostgresSettings,
    RaySettings,
    RedisSettings,
    Section,
    StreamSettings,
)
from ray_pipeline.settings.variables import explicit, merged, variable_name, variables

SETTINGS_FIX = "docs/settings.md lists every setting with its type and default"
PASSWORD_PAIR = re.compile(r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&']+))")


def _absolute(path: object) -> Path | None:
    # An empty variable counts as unset. A relative path would change its meaning in a process with
    # another working directory.
    return Path(str(path)).absolute() if path else None


Home = Annotated[Path | None, BeforeValidator(_absolute)]


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
        default_factory=lambda: feed_settings(feed_sections()()),
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

    def changed(self, **sections: Any) -> "Settings":
        """
        Return the settings with other values in some sections, which are validated.

        Args:
            sections: For a section or a provider the values that change, as a mapping; for another
                setting its value.

        Raises:
            ConfigurationError: If a name is unknown or a value is invalid.
        """
        values = dict(explicit(self))
        endpoints = dict(self.endpoints)
        for name, value in sections.items():
            try:
                if name in endpoint_names():
                    endpoints[name] = merged(self.endpoint(name), value)
                elif name == "feeds":
                    values[name] = changed_feeds(self.feeds, value)
                else:
                    values[name] = merged(getattr(self, name), value)
            except ValidationError as error:
                raise _invalid(error, name) from None
            except AttributeError:
                raise _unknown(name) from None
        try:
            return Settings(**values | {"endpoints": endpoints})
        except ValidationError as error:
            raise _invalid(error) from None

    def environment(self) -> dict[str, str]:
        """
        Return the variables with which `load` in another process returns these settings.

        They include secrets. Settings that have their default are left out.
        """
        values = dict(explicit(self))
        endpoints: dict[str, Any] = values.pop("endpoints", {})
        return dict(variables((), values | endpoints))

    def enabled_feeds(self) -> tuple[Feed, ...]:
        """Return the feeds that are collected, by rank."""
        return tuple(feed for feed in FEEDS if self.feeds[feed.name].enabled)

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


def _invalid(error: ValidationError, *section: str) -> ConfigurationError:
    # Only names and messages: the input may be a key.
    problems = (
        f"{variable_name((*section, *detail['loc']))}: {detail['msg']}"
        for detail in error.errors(include_input=False)
    )
    return ConfigurationError("\n".join(problems), fix=SETTINGS_FIX)


def _unknown(name: str) -> ConfigurationError:
    return ConfigurationError(f"{variable_name((name,))} is not a setting", fix=SETTINGS_FIX)


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
