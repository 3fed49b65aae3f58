"""Sections of the settings whose names are fixed: stores, streams, jobs, API, Ray."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Seconds = Annotated[float, Field(gt=0)]


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
    topic_prefix: str = Field(
        "", description="Put before every topic's name. A database keeps its first prefix."
    )


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
