"""The embedded servers, by name."""

from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.kafka.security import KafkaSecurity
from ray_pipeline.local.postgres import PostgresServer
from ray_pipeline.local.tansu import TansuServer
from ray_pipeline.local.valkey import ValkeyServer

__all__ = ["KafkaSecurity", "KafkaServer", "PostgresServer", "TansuServer", "ValkeyServer"]

Server = PostgresServer | ValkeyServer | TansuServer | KafkaServer
