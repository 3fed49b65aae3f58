"""Discovery of feeds, and what they have in common."""

from dataclasses import replace

import msgspec
import pytest

from ray_pipeline import feeds
from ray_pipeline.errors import BadRecord, PipelineError
from ray_pipeline.feeds import feed_registry
from ray_pipeline.feeds.codec import Decoder, encode
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.providers.registry import provider_names
from ray_pipeline.simulators.venue_registry import venue_simulators
from ray_pipeline.storage.migrations import read_migrations, sql_dir

SCHEMA = b"".join(file.sql for file in read_migrations(sql_dir() / "migrations")).decode()


def test_each_module_with_a_feed_is_discovered():
    assert {feed.name for feed in FEEDS} >= {"sp500", "bithumb", "top_gainers"}
    assert not feeds.SHARED_MODULES & {feed.name for feed in FEEDS}
    assert [feed.rank for feed in FEEDS] == sorted(feed.rank for feed in FEEDS)


@pytest.mark.parametrize("attribute", ["rank", "topic", "table"])
def test_two_feeds_with_the_same_identity_are_refused(attribute):
    """Their records would be mixed."""
    original = feed_named("sp500")
    changed = {"rank": 99, "topic": "t", "table": "t"}
    changed[attribute] = getattr(original, attribute)
    copied = replace(original, name="copied", **changed)

    with pytest.raises(PipelineError, match=f"sp500 and copied have the same {attribute}"):
        feed_registry._by_rank([original, copied])


def test_an_unknown_feed_is_an_error():
    """It does not get the layout of another feed."""
    with pytest.raises(KeyError):
        feed_named("nasdaq")


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
class TestEachFeed:
    def test_its_columns_are_fields_of_its_records(self, feed):
        """A rebuild reads records back from rows."""
        fields = {field.name for field in msgspec.structs.fields(feed.layout.kind)}
        layout = feed.layout

        assert set(layout.columns) <= fields
        assert {layout.symbol_column, layout.event_column} <= set(layout.columns)

    def test_its_values_carry_the_version_of_the_format(self, feed):
        """A value of a later version must become a dead letter, not a wrong row."""
        required = [field for field in msgspec.structs.fields(feed.layout.kind) if field.required]
        values = {field.name: "1" if field.type is str else 1 for field in required}
        decoder = Decoder(feed.layout.kind)

        assert b'"v":1' in encode(decoder.decode(msgspec.json.encode(values)))
        with pytest.raises(BadRecord, match="format version 2"):
            decoder.decode(msgspec.json.encode(values | {"v": 2}))

    def test_it_has_its_tables(self, feed):
        assert f"CREATE TABLE {feed.table} (" in SCHEMA
        if feed.latest_table is not None:
            assert f"CREATE TABLE {feed.latest_table} (LIKE {feed.table})" in SCHEMA

    def test_it_has_a_simulator(self, feed):
        assert feed.simulator in venue_simulators()

    def test_a_feed_with_several_connections_has_keys_or_needs_none(self, feed):
        """Several connections to a venue with keys need several keys."""
        assert feed.sharding is None or feed.key_provider is not None

    def test_its_rest_calls_have_a_quota(self, feed):
        """Each call of a producer is counted in the ledger of the provider."""
        assert not feed.protocol.rest_url or feed.protocol.venue in provider_names()
