"""Whether a feed collects, and if not why not: one sentence."""

from collections.abc import Iterable

from ray_pipeline.observe.status import FeedRow, ShardRow, age
from ray_pipeline.observe.why import Why

QUIET_S = 60.0  # a market that is open is not silent for so long
BEHIND = 10_000  # records


def explain_feed(row: FeedRow, shards: Iterable[ShardRow]) -> Why:
    """Say how a feed does; `shards` are the newest producers, of any feed."""
    mine = [shard for shard in shards if shard.feed == row.feed]
    troubles = sorted({shard.trouble for shard in mine if shard.trouble})
    reason = "; ".join(troubles[:3])
    if row.last_record_age_s is None:
        cause = reason or "no producer has run; start `ray-pipeline up`"
        return Why(row.feed, False, f"{row.feed} has never stored a record: {cause}.")
    if row.lag > BEHIND:
        return Why(
            row.feed,
            False,
            f"{row.feed} is behind: {row.lag:,} records wait in Kafka; "
            f"the newest that is stored came {age(row.last_record_age_s)} ago.",
        )
    if row.last_record_age_s > QUIET_S:
        cause = reason or "its producers are connected; the market may be closed"
        return Why(
            row.feed,
            False,
            f"{row.feed} has stored nothing for {age(row.last_record_age_s)}: {cause}.",
        )
    covered = f"{row.symbols_confirmed} of {row.symbols_wanted} symbols"
    rest = f"; {reason}" if reason else ""
    return Why(
        row.feed,
        True,
        f"{row.feed} is fresh: its newest record came {age(row.last_record_age_s)} ago, "
        f"{covered}, {row.lag:,} records on their way{rest}.",
    )
