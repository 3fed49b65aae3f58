"""The embedded servers, by kind."""

from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.postgres import PostgresServer
from ray_pipeline.local.tansu import TansuServer
from ray_pipeline.local.valkey import ValkeyServer

__all__ = ["SERVERS", "KafkaServer", "PostgresServer", "TansuServer", "ValkeyServer"]

SERVERS: dict[str, type[EmbeddedServer]] = {
    server.kind: server for server in (PostgresServer, ValkeyServer, TansuServer, KafkaServer)
}
