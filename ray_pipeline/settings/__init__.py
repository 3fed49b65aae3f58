"""
Settings: environment variables that begin with PIPELINE_, a `.env` file, a YAML file, defaults.

Two underscores separate a section from a name: `PIPELINE_KAFKA__BOOTSTRAP_SERVERS`. Each registered
provider is a section too: `PIPELINE_FINNHUB__REST_URL`. An unknown name is an error that suggests
the most similar name, because a misspelt setting would otherwise be ignored without notice. Each
feed has a section too: `PIPELINE_FEEDS__SP500__SHARDS`.
"""

from ray_pipeline.settings.loading import load
from ray_pipeline.settings.names import OTHER_NAMES, fields, known_names
from ray_pipeline.settings.sections import (
    ArchiveSettings,
    JobSettings,
    KafkaSettings,
    PostgresSettings,
    RedisSettings,
)
from ray_pipeline.settings.settings_value import Settings
from ray_pipeline.settings.variables import variable_name

__all__ = [
    "OTHER_NAMES",
    "ArchiveSettings",
    "JobSettings",
    "KafkaSettings",
    "PostgresSettings",
    "RedisSettings",
    "Settings",
    "fields",
    "known_names",
    "load",
    "variable_name",
]
