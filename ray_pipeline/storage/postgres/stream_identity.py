"""The prefix of the topics that a database stores: recorded once, then checked."""

from collections.abc import Iterable

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.storage.postgres.connection import Connection

LOCK = "LOCK TABLE stream_identity IN EXCLUSIVE MODE"
READ = "SELECT topic_prefix FROM stream_identity"
RECORD = "INSERT INTO stream_identity (topic_prefix) VALUES (%s)"
USED = "SELECT DISTINCT topic FROM stream_offsets WHERE next_offset > 0"


async def record_topic_prefix(connection: Connection, prefix: str) -> None:
    """
    Record the prefix of the topics that this database stores; does nothing if it is recorded.

    A database without a record that has stored topics was written by a release that recorded
    nothing: then the prefix must be one of theirs.

    Raises:
        ConfigurationError: If the database stores topics with another prefix.
    """
    async with connection.transaction():
        await connection.execute(LOCK)
        await check_topic_prefix(connection, prefix)
        if await _recorded(connection) is None:
            await connection.execute(RECORD, (prefix,))


async def check_topic_prefix(connection: Connection, prefix: str) -> None:
    """
    Check that this database does not store topics with another prefix; records nothing.

    Leases, sequence numbers and gaps name a feed and not a topic. Two prefixes on one database
    would report the numbers of each other as missing.

    Raises:
        ConfigurationError: If it does; the text names both prefixes.
    """
    recorded = await _recorded(connection)
    if recorded is not None:
        stored = {recorded}
    else:
        cursor = await connection.execute(USED)
        stored = used_prefixes([topic async for (topic,) in cursor])
    if stored and prefix not in stored:
        names = " and ".join(repr(each) for each in sorted(stored))
        raise ConfigurationError(
            f"PIPELINE_KAFKA__TOPIC_PREFIX is {prefix!r}, but this database stores topics with the "
            f"prefix {names}",
            fix=f"set PIPELINE_KAFKA__TOPIC_PREFIX={min(stored)}, or use another database; "
            "docs/operations.md describes how a database changes its prefix",
        )


async def _recorded(connection: Connection) -> str | None:
    row = await (await connection.execute(READ)).fetchone()
    return None if row is None else str(row[0])


def used_prefixes(topics: Iterable[str]) -> set[str]:
    """Return the prefixes in the names of feeds' topics; other topics are ignored."""
    # The longest name first: a topic's name may end with that of another.
    endings = sorted((feed.topic for feed in FEEDS), key=len, reverse=True)
    return {
        topic.removesuffix(ending)
        for topic in topics
        if (ending := next(filter(topic.endswith, endings), None)) is not None
    }
