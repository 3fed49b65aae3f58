"""
Values of single seconds that nothing lists, and that the budget therefore does not count.

Earlier versions wrote a key per second without a list. A server that evicts may take a list and
leave its keys.
"""

from collections.abc import Iterable, Iterator

import redis.asyncio

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS

CHUNK = 1_000

# KEYS: the hash of rings, the hash of minutes. ARGV: kind, key, symbol, and second or minute of
# each key. The check and the deletion are one step: another consumer of the feed may write.
DELETE_UNLISTED = """
local deleted = 0
for i = 1, #ARGV, 4 do
  local kind, key, symbol, time = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local listed
  if kind == 'seconds' then
    listed = redis.call('HEXISTS', KEYS[2], time) == 1
  else
    local ring = redis.call('HGET', KEYS[1], symbol) or ''
    for place = #ring - 9, 1, -10 do
      if string.sub(ring, place, place + 9) == time then listed = true break end
    end
  end
  if not listed then deleted = deleted + redis.call('DEL', key) end
end
return deleted
"""


async def delete_orphans(client: redis.asyncio.Redis, spec: Feed) -> int:
    """
    Delete the unlisted values of a feed's single seconds; return how many keys were deleted.

    The client decodes responses.
    """
    script = client.register_script(DELETE_UNLISTED)
    lists = [f"pipeline:realtime:{spec.name}", f"pipeline:minutes:{spec.name}"]
    deleted = 0
    for pattern in (f"realtime:{spec.redis.prefix}:*", f"seconds:{spec.name}:*"):
        cursor = 0
        while True:
            cursor, keys = await client.scan(cursor, match=pattern, count=CHUNK)
            if arguments := list(_arguments(map(str, keys), spec)):
                deleted += int(await script(keys=lists, args=arguments))
            if not cursor:
                break
    return deleted


def _arguments(keys: Iterable[str], spec: Feed) -> Iterator[str]:
    # The prefix of one feed may be the beginning of another's: `crypto`, `crypto:upbit`.
    longer_prefixes = tuple(
        f"realtime:{feed.redis.prefix}:"
        for feed in FEEDS
        if feed.redis.prefix.startswith(f"{spec.redis.prefix}:")
    )
    for key in keys:
        kind, _, _ = key.partition(":")
        begin = f"realtime:{spec.redis.prefix}:" if kind == "realtime" else f"seconds:{spec.name}:"
        symbol, _, time = key.removeprefix(begin).rpartition(":")
        if time.isdecimal() and symbol and not key.startswith(longer_prefixes):
            yield from (kind, key, symbol, time)
