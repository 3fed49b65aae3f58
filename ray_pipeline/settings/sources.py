"""The sources of the settings, as a model that pydantic-settings reads."""

import os
from functools import cache
from typing import Any

from pydantic import create_model
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.settings.api_keys import endpoint_names
from ray_pipeline.settings.feed_sections import feed_sections
from ray_pipeline.settings.sections import DEFAULT_ENDPOINT, EndpointSettings
from ray_pipeline.settings.settings_value import Settings
from ray_pipeline.settings.variables import DELIMITER, PREFIX


class Sources(BaseSettings):
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
        file = YamlConfigSettingsSource(settings_cls, yaml_file=config_file())
        return init_settings, env_settings, dotenv_settings, file


def config_file() -> str:
    # PIPELINE_CONFIG names a source of settings, so it cannot be a setting itself.
    return os.environ.get("PIPELINE_CONFIG", "ray-pipeline.yaml")


@cache
def reader() -> type[Sources]:
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
    feeds = feed_sections()
    sections["feeds"] = (feeds, feeds())
    for name in endpoint_names():
        if name in Settings.model_fields:
            raise ConfigurationError(
                f"the provider {name!r} has the name of a section of the settings",
                fix=f"rename the provider in ray_pipeline/providers/{name}.py",
            )
        sections[name] = (EndpointSettings, DEFAULT_ENDPOINT)
    model: type[Sources] = create_model("_Reader", __base__=Sources, **sections)
    return model
