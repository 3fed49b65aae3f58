"""The embedded servers, by kind."""

from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.kafka.security import KafkaSecurity
from ray_pipeline.local.postgres import PostgresServer
from ray_pipeline.local.tansu import TansuServer
from ray_pipeline.local.valkey import ValkeyServer

__all__ = [
    "SERVERS", "KafkaSecurity", "KafkaServer", "PostgresServer", "Server", "TansuServer",
    "ValkeyServer",
]  # fmt: skip

Server = PostgresServer | ValkeyServer | TansuServer | KafkaServer
SERVERS: dict[str, type[Server]] = {
    server.kind: server for server in (PostgresServer, ValkeyServer, TansuServer, KafkaServer)
}
