"""Settings from variables, and the sections of providers."""

import json
import pickle

import pytest

from ray_pipeline import settings
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.providers.registry import provider_names


@pytest.fixture(autouse=True)
def _no_files(tmp_path, monkeypatch):
    """Keep a `.env` or YAML file of the working directory out of the tests."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("provider", provider_names())
def test_every_provider_is_a_section(provider, monkeypatch):
    """The variables of a provider need no declaration."""
    monkeypatch.setenv(f"PIPELINE_{provider.upper()}__REST_URL", "http://rest.example.com")
    monkeypatch.setenv(f"PIPELINE_{provider.upper()}__WS_URL", "ws://socket.example.com")

    endpoint = settings.load().endpoint(provider)

    assert endpoint.rest_url == "http://rest.example.com"
    assert endpoint.ws_url == "ws://socket.example.com"


def test_a_provider_without_values_has_an_empty_section():
    """Also one that no module defines: asking for its URL is not an error."""
    assert settings.load().endpoint("unheard_of").rest_url is None


def test_a_misspelt_provider_is_an_error_that_suggests_the_right_one(monkeypatch):
    """A URL that is ignored would send real calls."""
    monkeypatch.setenv("PIPELINE_FINHUB__REST_URL", "http://rest.example.com")

    with pytest.raises(ConfigurationError, match="did you mean PIPELINE_FINNHUB__REST_URL"):
        settings.load()


def test_a_misspelt_name_in_the_section_of_a_provider_is_an_error(monkeypatch):
    """The section exists, the setting does not."""
    monkeypatch.setenv("PIPELINE_FRED__REST_ULR", "http://rest.example.com")

    with pytest.raises(ConfigurationError, match="did you mean PIPELINE_FRED__REST_URL"):
        settings.load()


def test_a_problem_is_listed_once(monkeypatch):
    """The environment and the section both report an unknown name of a section."""
    monkeypatch.setenv("PIPELINE_FRED__REST_ULR", "http://rest.example.com")

    with pytest.raises(ConfigurationError) as raised:
        settings.load()

    assert str(raised.value).count("PIPELINE_FRED__REST_ULR") == 1


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        ("finhub", "'finhub' is not a provider (did you mean finnhub?)"),
        ("Alpha-Vantage", "'Alpha-Vantage' is not a provider (did you mean alpha_vantage?)"),
        ("weather", "'weather' is not a provider"),
    ],
)
def test_keys_of_an_unknown_provider_are_an_error_without_the_keys(provider, problem, monkeypatch):
    """Keys that no provider uses would be missed only when a job has none."""
    keys = json.dumps({provider: ["planted-secret"], "fred": ["other-secret"]})
    monkeypatch.setenv("PIPELINE_API_KEYS", keys)

    with pytest.raises(ConfigurationError) as raised:
        settings.load()

    text = str(raised.value)
    assert text.startswith(f"PIPELINE_API_KEYS: {problem}; the providers are alpha_vantage, ")
    assert all(name in text for name in provider_names())
    assert "secret" not in text


@pytest.mark.parametrize(
    "value", ['{"planted-secret-1": ["fred"]}', '{"planted-secret-1": "fred"}']
)
def test_a_key_in_the_place_of_a_provider_is_not_shown(value, monkeypatch):
    """Names and keys are swapped by mistake."""
    monkeypatch.setenv("PIPELINE_API_KEYS", value)

    with pytest.raises(ConfigurationError, match=r"\*\*\* is not a provider") as raised:
        settings.load()

    assert "planted" not in str(raised.value).lower()


def test_unknown_providers_are_errors_in_every_source(tmp_path):
    """Also in the `.env` and the YAML file."""
    (tmp_path / "ray-pipeline.yaml").write_text("api_keys: {finhub: [key-1]}\n")
    with pytest.raises(ConfigurationError, match="did you mean finnhub"):
        settings.load()

    (tmp_path / ".env").write_text('PIPELINE_API_KEYS={"fredd": ["key-1"]}\n')
    with pytest.raises(ConfigurationError, match="did you mean fred"):
        settings.load()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("PIPELINE_ARCHIVES__ENABLED=1", "did you mean PIPELINE_ARCHIVE__ENABLED?"),
        ("PIPELINE_KAFKA_LIBS=/jars", "cannot be set in a file: set it in the environment"),
        ("PIPELINE_CONFIG=a.yaml", "cannot be set in a file: set it in the environment"),
    ],
)
def test_an_unknown_name_in_the_env_file_is_shown_as_it_is_there(line, problem, tmp_path):
    """The prefix is not repeated."""
    (tmp_path / ".env").write_text(f"{line}\n")

    with pytest.raises(ConfigurationError) as raised:
        settings.load()

    assert str(raised.value).startswith(line.partition("=")[0])
    assert problem in str(raised.value)


@pytest.mark.parametrize("value", ["[planted-secret", "!planted-secret", "*planted-secret"])
def test_a_file_that_is_not_yaml_is_an_error_without_its_text(value, tmp_path):
    """A key that begins with ! is a tag of YAML, and one that begins with * is an alias."""
    (tmp_path / "ray-pipeline.yaml").write_text(f"home: /tmp\nredis: {{url: {value}}}\n")

    with pytest.raises(ConfigurationError) as raised:
        settings.load()

    assert str(raised.value).startswith("ray-pipeline.yaml is not valid YAML: line ")
    assert "planted" not in str(raised.value)


def test_a_venue_without_a_provider_may_have_keys(monkeypatch):
    """Its section has keys of the WebSocket too."""
    monkeypatch.setenv("PIPELINE_API_KEYS", '{"upbit": ["key-1"]}')

    assert settings.load().stream_keys("upbit") == ["key-1"]


def test_sections_of_providers_come_from_yaml_and_env_files_too(tmp_path):
    """The `.env` file is the stronger of the two."""
    (tmp_path / "ray-pipeline.yaml").write_text(
        "fred: {rest_url: http://yaml}\nyahoo: {rest_url: http://yaml}\n"
    )
    (tmp_path / ".env").write_text("PIPELINE_FRED__REST_URL=http://env-file\n")

    assert settings.load().rest_urls() == {"fred": "http://env-file", "yahoo": "http://yaml"}


def test_keys_of_the_websocket_replace_the_keys_of_the_provider(monkeypatch):
    """Every provider has both; all of them are secrets."""
    monkeypatch.setenv("PIPELINE_API_KEYS", '{"finnhub": ["key-1"], "fred": ["key-2"]}')
    monkeypatch.setenv("PIPELINE_FRED__WS_KEYS", '["key-3", "key-4"]')

    loaded = settings.load()

    assert loaded.stream_keys("finnhub") == ["key-1"]
    assert loaded.stream_keys("fred") == ["key-3", "key-4"]
    assert {"key-1", "key-2", "key-3", "key-4"} <= set(loaded.secrets())
    assert "key-" not in repr(loaded)


def test_settings_travel_to_another_process(monkeypatch):
    """Ray pickles them for its workers."""
    monkeypatch.setenv("PIPELINE_FRED__REST_URL", "http://rest.example.com")
    loaded = settings.load(finnhub={"ws_keys": ["key"]})

    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_each_feed_is_a_section_with_the_defaults_of_the_feed(monkeypatch):
    monkeypatch.setenv("PIPELINE_FEEDS__SP500__SHARDS", "2")
    monkeypatch.setenv("PIPELINE_FEEDS__BITHUMB__TTL_S", "60")

    feeds = settings.load().feeds

    assert (feeds["sp500"].shards, feeds["sp500"].partitions) == (2, 3)
    assert (feeds["bithumb"].ttl_s, feeds["bithumb"].poll_s) == (60, 5.0)
    assert feeds.keys() == {feed.name for feed in FEEDS}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("PIPELINE_FEEDS__SP50__SHARDS", "PIPELINE_FEEDS__SP500__SHARDS"),
        ("PIPELINE_FEEDS__SP500__SHARD", "PIPELINE_FEEDS__SP500__SHARDS"),
        ("PIPELINE_STREAMS__SP500_SHARDS", "PIPELINE_FEEDS__SP500__SHARDS"),
        ("PIPELINE_FEEDS__BITHUMB__POLLS", "PIPELINE_FEEDS__BITHUMB__POLL_S"),
    ],
)
def test_a_misspelt_feed_or_setting_of_a_feed_is_an_error(name, suggestion, monkeypatch):
    monkeypatch.setenv(name, "2")

    with pytest.raises(ConfigurationError, match=f"did you mean {suggestion}"):
        settings.load()


def test_a_feed_has_no_setting_that_does_not_apply_to_it(monkeypatch):
    """A venue with one connection has no number of connections."""
    monkeypatch.setenv("PIPELINE_FEEDS__BITHUMB__SHARDS", "2")

    with pytest.raises(ConfigurationError, match="PIPELINE_FEEDS__BITHUMB__SHARDS is not a set"):
        settings.load()


def test_variables_give_another_process_the_same_settings(monkeypatch, tmp_path):
    """Children of `up` and the jobs of its cluster get them, also what changed after `load`."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    monkeypatch.setenv("PIPELINE_API_KEYS", '{"fred": ["key-1", "key-2"]}')
    monkeypatch.setenv("PIPELINE_POSTGRES__DSN", "postgresql://user:secret@host/db")
    monkeypatch.setenv("PIPELINE_JOBS__ONLY", '["cpi"]')
    changed = settings.load().changed(
        finnhub={"ws_url": "ws://socket", "ws_keys": ["key-3"]},
        kafka={"idempotence": False},
        jobs={"speed": 60},
        api={"simulated": ("sp500",)},
    )
    for name, value in changed.environment().items():
        monkeypatch.setenv(name, value)

    loaded = settings.load()

    assert loaded == changed
    assert loaded.jobs.only == ("cpi",)
    assert loaded.stream_keys("finnhub") == ["key-3"]
    assert loaded.kafka.idempotence is False


def test_a_change_keeps_the_other_values_of_a_section():
    """A section is not replaced by its defaults."""
    loaded = settings.load(jobs={"at_once": 7}).changed(jobs={"speed": 60})

    assert (loaded.jobs.at_once, loaded.jobs.speed) == (7, 60)


def test_a_change_of_one_feed_keeps_the_others_and_reaches_another_process(monkeypatch):
    """The variables name only settings that a feed has."""
    changed = settings.load(feeds={"sp500": {"shards": 2}}).changed(feeds={"bithumb": {"ttl_s": 9}})
    for name, value in changed.environment().items():
        monkeypatch.setenv(name, value)

    assert (changed.feeds["sp500"].shards, changed.feeds["bithumb"].ttl_s) == (2, 9)
    assert settings.load() == changed


def test_a_change_is_validated():
    """A misspelt name does not pass unnoticed."""
    with pytest.raises(ConfigurationError, match="PIPELINE_JOBS__SPED: Extra inputs"):
        settings.load().changed(jobs={"sped": 60})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"feeds": {"sp500": {"partitions": 0}}}, "FEEDS__SP500__PARTITIONS: Input should be grea"),
        ({"feeds": {"sp500": {"ttl_s": "long"}}}, "FEEDS__SP500__TTL_S: Input should be a valid"),
        ({"feeds": {"bithumb": {"shards": 2}}}, "FEEDS__BITHUMB__SHARDS: Extra inputs"),
        ({"feeds": {"sp501": {"shards": 2}}}, "FEEDS__SP501: Extra inputs"),
        ({"api": {"port": -1}}, "API__PORT: Input should be greater"),
        ({"finnhub": {"url": "x"}}, "FINNHUB__URL: Extra inputs"),
        ({"nothing": {"a": 1}}, "PIPELINE_NOTHING is not a setting"),
        ({"api_keys": {"nobody": ["a-key-42"]}}, "API_KEYS: 'nobody' is not a provider"),
    ],
)
def test_a_change_meets_the_limits_that_a_variable_meets(change, problem):
    """It had to be valid only by its type: a topic with no partition passed."""
    with pytest.raises(ConfigurationError) as raised:
        settings.load().changed(**change)

    assert problem in str(raised.value)
    assert "a-key-42" not in str(raised.value)


def test_a_section_of_any_depth_may_be_json(monkeypatch):
    """A section of a feed was read and refused at the same time."""
    monkeypatch.setenv("PIPELINE_FEEDS__SP500", '{"shards": 2, "enabled": false}')
    monkeypatch.setenv("PIPELINE_FEEDS__UPBIT", '{"ttl_s": 7}')
    monkeypatch.setenv("PIPELINE_STREAMS", '{"batch_rows": 5}')

    loaded = settings.load()

    assert (loaded.feeds["sp500"].shards, loaded.feeds["sp500"].enabled) == (2, False)
    assert (loaded.feeds["upbit"].ttl_s, loaded.streams.batch_rows) == (7, 5)


def test_an_unknown_name_in_the_json_of_a_section_is_an_error(monkeypatch):
    monkeypatch.setenv("PIPELINE_FEEDS__SP500", '{"shard": 2}')

    with pytest.raises(ConfigurationError, match="did you mean PIPELINE_FEEDS__SP500__SHARDS"):
        settings.load()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("REALTIME_TTL_S", "did you mean PIPELINE_FEEDS__SP500__TTL_S or "),
        ("CRYPTO_TTL_S", " or PIPELINE_FEEDS__BITHUMB__TTL_S"),
        ("SP500_SHARDS", "did you mean PIPELINE_FEEDS__SP500__SHARDS?"),
        ("BITHUMB_PARTITIONS", "did you mean PIPELINE_FEEDS__BITHUMB__PARTITIONS?"),
        ("SYMBOLS_PER_CONNECTION", "PIPELINE_FEEDS__SP500__SYMBOLS_PER_CONNECTION"),
        ("LEESE_TTL_S", "did you mean PIPELINE_STREAMS__LEASE_TTL_S?"),
        ("LEASE_TTL", "did you mean PIPELINE_STREAMS__LEASE_TTL_S?"),
    ],
)
def test_a_name_of_an_earlier_release_suggests_the_settings_of_feeds(monkeypatch, old, new):
    """The most similar name was that of the lease, which is another thing."""
    monkeypatch.setenv(f"PIPELINE_STREAMS__{old}", "5")

    with pytest.raises(ConfigurationError) as raised:
        settings.load()

    assert new in str(raised.value)


def test_home_is_set_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))

    assert settings.load().home_dir() == tmp_path


def test_home_is_in_the_users_data_directory_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert settings.load().home_dir() == tmp_path / "ray-pipeline"


def test_home_follows_the_convention_without_variables(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert settings.load().home_dir() == tmp_path / ".local" / "share" / "ray-pipeline"


def test_the_default_home_is_that_of_the_node_that_uses_it(monkeypatch, tmp_path):
    """A worker on another node may run as another user."""
    sent = pickle.dumps(settings.load())

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert pickle.loads(sent).home_dir() == tmp_path / "ray-pipeline"


def test_an_empty_home_is_the_default_and_a_relative_one_becomes_absolute(monkeypatch, tmp_path):
    """The working directory of a worker is another one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PIPELINE_HOME", "")
    default = settings.load().home_dir()
    monkeypatch.setenv("PIPELINE_HOME", "here")

    assert default == tmp_path / "data" / "ray-pipeline"
    assert settings.load().home_dir() == tmp_path / "here"
