"""The quotas that `status` and the API show, on a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.providers.registry import all_providers
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.quota_rows import QuotaRow, read_quotas

KEYS = {"alpha_vantage": ["key-1", "key-2"]}


@pytest.fixture
async def connection(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        yield connection


def windows(rows: list[QuotaRow], provider: str, key: str = "") -> dict[str, QuotaRow]:
    return {row.window: row for row in rows if (row.provider, row.key) == (provider, key)}


async def test_each_key_has_a_row_for_each_window(connection):
    """A provider that needs a key and has none is left out; one without keys has empty keys."""
    rows = await read_quotas(connection, KEYS)

    expected = {
        (provider.name, key)
        for provider in all_providers()
        for key in KEYS.get(provider.name) or ([] if provider.needs_key else [""])
        if provider.quota.windows
    }
    assert {(row.provider, row.key) for row in rows} == expected
    assert ("alpha_vantage", "key-2") in expected
    assert all(row.used == 0 for row in rows)


async def test_calls_count_in_the_windows_of_their_key(connection):
    """A sliding window counts grants, a calendar window its counter."""
    (provider,) = [each for each in all_providers() if each.name == "alpha_vantage"]
    (calendar, *_) = [each for each in provider.quota.windows if each.reset != "sliding"]
    now = datetime.now(UTC)
    await connection.execute(
        "INSERT INTO quota_counters VALUES ('alpha_vantage', 'key-1', %s, %s, 4)",
        (calendar.name, calendar.start(now)),
    )

    rows = await read_quotas(connection, KEYS)

    used = windows(rows, "alpha_vantage", "key-1")[calendar.name]
    assert (used.used, used.left) == (4, calendar.limit - 4)
    assert windows(rows, "alpha_vantage", "key-2")[calendar.name].used == 0


async def test_a_cooldown_is_shown_until_it_ends(connection):
    """With its reason."""
    until = datetime.now(UTC) + timedelta(hours=1)
    await connection.execute(
        "INSERT INTO quota_keys (provider, key, rest_until, rest_reason) VALUES "
        "('alpha_vantage', 'key-1', %s, 'refused'), "
        "('alpha_vantage', 'key-2', now() - interval '1 s', 'over')",
        (until,),
    )

    rows = await read_quotas(connection, KEYS)

    assert {(row.rests_until, row.reason) for row in rows if row.key == "key-1"} == {
        (until, "refused")
    }
    assert {row.rests_until for row in rows if row.key == "key-2"} == {None}
