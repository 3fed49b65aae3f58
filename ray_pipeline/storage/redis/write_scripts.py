"""
The scripts that write latest values and the values of single seconds, within a budget.

Each value is written up to three times:

- `latest:<prefix>:<symbol>` and the clients' hash: the newest value. It has priority.
- `realtime:<prefix>:<symbol>:<second>`: the newest few values of each symbol, one key each. The
  hash `pipeline:realtime:<feed>` lists the seconds of each symbol.
- `seconds:<feed>:<symbol>:<minute>`: a hash of the packed values of a minute; see `second_codec`.
  Field `s` belongs to second `s` of the minute. The server keeps a hash in its compact encoding
  (listpack) only while each value has at most 64 bytes, so a longer value continues in the fields
  `s + 60`, `s + 120` and so on.

`pipeline:minutes:<feed>` holds the bytes of each minute, `pipeline:seconds` the sums of each feed.
Both change in the script that writes the values, so that they are correct for any writers and
wherever a writer stops.
"""

from ray_pipeline.stream.cache_memory import HIGH_WATER, KEYS_SHARE, REALTIME_KEY_BYTES

# The expiry of a key and its slot in the hash table of keys, which MEMORY USAGE leaves out.
KEY_EXTRA_BYTES = 72
MOST_DROPPED = 100  # minutes of a feed that one script deletes

# Lua functions over the data above. `c` has the limits; see LatestCache.
_LIBRARY = (
    """
local c = cjson.decode(ARGV[1])
local call, feed = redis.call, c.feed
local SUMS = 'pipeline:seconds'
"""
    f"local KEY_EXTRA, REALTIME_KEY = {KEY_EXTRA_BYTES}, {REALTIME_KEY_BYTES}\n"
    f"local KEYS_SHARE, HIGH_WATER, MOST_DROPPED = {KEYS_SHARE}, {HIGH_WATER}, {MOST_DROPPED}\n"
    """
local function versions_of(name) return 'pipeline:latest_ms:' .. name end
local function minutes_of(name) return 'pipeline:minutes:' .. name end
local function rings_of(name) return 'pipeline:realtime:' .. name end
local function seconds_of(name, symbol, minute)
  return 'seconds:' .. name .. ':' .. symbol .. ':' .. minute
end
local function key_of(prefix, symbol, second)
  return 'realtime:' .. prefix .. ':' .. symbol .. ':' .. second
end
local function whole(number) return string.format('%.0f', number) end

local used, maximum = 0, 0  -- memory of the server; 0 if this user may not read it
local function read_memory()
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return end
  used = tonumber(string.match(info, 'used_memory:(%d+)'))
  maximum = tonumber(string.match(info, 'maxmemory:(%d+)'))
end

local function sums()
  local flat, table_ = call('HGETALL', SUMS), {}
  for i = 1, #flat, 2 do
    local name, kind = string.match(flat[i], '^(.*):(%a+)$')
    table_[name] = table_[name] or {}
    table_[name][kind] = tonumber(flat[i + 1]) or flat[i + 1]
  end
  return table_
end

local function feed_bytes(sum) return (sum.bytes or 0) + (sum.keys or 0) * REALTIME_KEY end

local function total_bytes(all)
  local total = 0
  for _, sum in pairs(all) do total = total + feed_bytes(sum) end
  return total
end

-- Deletes a feed's oldest minute; returns false if the feed has no minute.
local function drop_minute(name, reason)
  local oldest
  for _, minute in ipairs(call('HKEYS', minutes_of(name))) do
    minute = tonumber(minute)
    if not oldest or minute < oldest then oldest = minute end
  end
  if not oldest then return false end
  for _, symbol in ipairs(call('HKEYS', versions_of(name))) do
    call('DEL', seconds_of(name, symbol, oldest))
  end
  local bytes = call('HGET', minutes_of(name), oldest)
  call('HDEL', minutes_of(name), oldest)
  call('HINCRBY', SUMS, name .. ':bytes', -bytes)
  local floor = tonumber(call('HGET', SUMS, name .. ':floor') or '0')
  call('HSET', SUMS, name .. ':floor', math.max(floor, oldest + 1), name .. ':reason', reason)
  return true
end

-- A ring is a text of seconds, ten digits each, in order. Deletes the keys of its first ones beyond
-- `limit`; returns the rest and how many went.
local function trimmed(ring, prefix, symbol, limit)
  local excess = #ring / 10 - limit
  if excess <= 0 then return ring, 0 end
  for i = 0, excess - 1 do
    local second = string.sub(ring, 10 * i + 1, 10 * i + 10)
    call('DEL', key_of(prefix, symbol, second))
  end
  return string.sub(ring, 10 * excess + 1), excess
end

local function trim_all_keys(all, limit)
  for name, sum in pairs(all) do
    local rings = sum.prefix and call('HGETALL', rings_of(name)) or {}
    for i = 1, #rings, 2 do
      local ring, excess = trimmed(rings[i + 1], sum.prefix, rings[i], limit)
      if excess > 0 then
        call('HSET', rings_of(name), rings[i], ring)
        call('HINCRBY', SUMS, name .. ':keys', -excess)
      end
    end
  end
end

-- How many keys of single seconds each symbol may have: all feeds share a part of the budget.
local function keys_limit(all)
  local symbols = 0
  for _, sum in pairs(all) do symbols = symbols + (sum.symbols or 0) end
  local share = c.budget / KEYS_SHARE / REALTIME_KEY / math.max(symbols, 1)
  return math.min(c.keys, math.floor(share))
end

-- Makes room for `incoming` bytes: first the oldest minute of the largest feed goes, and so on;
-- then keys of single seconds. Deletes only what this pipeline wrote. Returns whether the server
-- still has too little memory, which then belongs to others or to latest values.
local function make_room(incoming)
  local function over(all)
    read_memory()
    if maximum > 0 and used + incoming > maximum * HIGH_WATER then return 'maxmemory' end
    if total_bytes(all) + incoming > c.budget then return 'budget' end
  end
  local all = sums()
  local reason = over(all)
  -- A limited number at once, because the server does nothing else during a script.
  for _ = 1, MOST_DROPPED do
    if not reason then return false end
    local largest
    for name, sum in pairs(all) do
      if (sum.bytes or 0) > 0 and (not largest or sum.bytes > all[largest].bytes) then
        largest = name
      end
    end
    if not largest then break end
    if not drop_minute(largest, reason) then call('HDEL', SUMS, largest .. ':bytes') end
    all = sums()
    reason = over(all)
  end
  if reason then
    trim_all_keys(all, reason == 'maxmemory' and 0 or keys_limit(all))
    reason = over(sums())
  end
  return reason == 'maxmemory'
end

-- An exact size, whatever encoding the server chooses; nil if this user may not read sizes.
local function measured(key)
  local bytes = redis.pcall('MEMORY', 'USAGE', key)
  if type(bytes) == 'number' then return bytes + KEY_EXTRA end
  if not bytes then return 0 end
end

-- Measures a minute exactly. While it is written, its bytes are an estimate.
local function measure_minute(minute, symbols)
  if not call('HGET', minutes_of(feed), minute) then return end
  local total = 0
  for _, symbol in ipairs(symbols) do
    local bytes = measured(seconds_of(feed, symbol, minute))
    if not bytes then return end
    total = total + bytes
  end
  call('HSET', minutes_of(feed), minute, whole(total))
end

-- Corrects the sums of this feed: estimates, and keys that expired. Returns false if the server
-- evicted a latest value or the clients' hash.
local function recount()
  local held, symbols, complete = call('HGETALL', versions_of(feed)), {}, true
  for i = 1, #held, 2 do
    symbols[#symbols + 1] = held[i]
    -- A value was written at its event time or later, so it has not expired yet.
    if held[i + 1] / 1000 > c.now - c.ttl
        and call('EXISTS', 'latest:' .. c.prefix .. ':' .. held[i]) == 0 then
      complete = false
    end
  end
  local minute = math.floor(c.now / 60)
  measure_minute(minute - 1, symbols)
  measure_minute(minute, symbols)
  local minutes, bytes = call('HGETALL', minutes_of(feed)), 0
  for i = 1, #minutes, 2 do
    if tonumber(minutes[i]) * 60 < c.now - c.ttl - 60 then
      call('HDEL', minutes_of(feed), minutes[i])
    else
      bytes = bytes + minutes[i + 1]
    end
  end
  local rings, keys, first = call('HGETALL', rings_of(feed)), 0, c.now - c.ttl
  for i = 1, #rings, 2 do
    local ring, expired = rings[i + 1], 0
    while expired < #ring and tonumber(string.sub(ring, expired + 1, expired + 10)) < first do
      expired = expired + 10
    end
    if expired > 0 then call('HSET', rings_of(feed), rings[i], string.sub(ring, expired + 1)) end
    keys = keys + (#ring - expired) / 10
  end
  call('HSET', SUMS, feed .. ':bytes', whole(bytes), feed .. ':keys', whole(keys))
  -- A feed that is not written any more leaves nothing but its sums.
  for name, _ in pairs(sums()) do
    if name ~= feed and call('EXISTS', minutes_of(name)) == 0 then
      call('HDEL', SUMS, name .. ':bytes', name .. ':keys', name .. ':symbols')
    end
  end
  return complete and (c.hash == '' or #held == 0 or call('EXISTS', c.hash) == 1)
end
"""
)

# ARGV: the limits as JSON, the ids of shapes as JSON, and a list in MessagePack: symbol, event time
# in ms, JSON and packed value of each value, sorted by symbol and time. In a single argument,
# because the client takes longer to prepare four than to make the rest of a value.
# Returns {0} if this is not the data that the writer wrote last; then nothing was written.
# Otherwise {1, this feed's bytes, all feeds' bytes, first minute kept, reason, used memory,
# maxmemory}.
WRITE = (
    _LIBRARY
    + """
local PART = 64  -- hash-max-listpack-value
local PART_EXTRA, NEW_KEY = 8, 200  -- estimates, until the minute is measured
local versions, writers = versions_of(feed), 'pipeline:writers:' .. feed
local values = cmsgpack.unpack(ARGV[3])
if call('HGET', writers, c.writer) ~= c.expected
    or (c.has_written and call('EXISTS', versions) == 0) then
  return {0}
end
-- Room first: on a full server, a deletion must come before any other write.
local pressed = make_room(c.incoming)
if c.recount and not recount() then return {0} end
local state = sums()
local limit = pressed and 0 or keys_limit(state)
local floor = state[feed] and state[feed].floor or 0

-- The state of every symbol of this chunk, in one command each.
local symbols, events, rings = {}, {}, {}
for i = 1, #values, 4 do
  if values[i] ~= values[i - 4] then symbols[#symbols + 1] = values[i] end
end
if #symbols > 0 then
  events = call('HMGET', versions, unpack(symbols))
  rings = call('HMGET', rings_of(feed), unpack(symbols))
end
local new_events, new_rings, new_texts = {}, {}, {}
local added, key_changes = {}, 0
local symbol, held, newest, ring

-- A value that is newer than all others of its symbol needs no comparison.
local function write_packed(at, packed)
  local second = math.floor(at / 1000)
  local minute, field = math.floor(second / 60), second % 60
  if pressed or minute < floor or second <= c.now - c.ttl then return end
  local key = seconds_of(feed, symbol, minute)
  local is_new_key = minute > math.floor(held / 60000) or call('EXISTS', key) == 0
  local previous = second <= math.floor(held / 1000) and call('HGET', key, field)
  if previous and tonumber(string.match(previous, ',(%d+)')) > at % 1000 then return end
  local parts, count = {}, 0
  repeat
    parts[2 * count + 1] = field + 60 * count
    parts[2 * count + 2] = string.sub(packed, count * PART + 1, (count + 1) * PART)
    count = count + 1
  until count * PART >= #packed
  call('HSET', key, unpack(parts))
  while previous and call('HDEL', key, field + 60 * count) == 1 do count = count + 1 end
  local bytes = previous and 0 or #packed + PART_EXTRA * count
  if is_new_key then
    bytes = bytes + NEW_KEY
    call('EXPIRE', key, (minute + 1) * 60 + c.ttl - c.now)
  end
  added[minute] = (added[minute] or 0) + bytes
end

-- Returns false if a newer value has this second, or the ring is full of later seconds.
local function enter_ring(second, at)
  local text = string.format('%010.0f', second)
  local last = string.sub(ring, -10)
  if text == last and at >= held then return true end
  if text > last then
    ring, key_changes = ring .. text, key_changes + 1
    return true
  end
  local place = #ring  -- of the last second that is not later
  while place > 0 and string.sub(ring, place - 9, place) > text do place = place - 10 end
  if place > 0 and string.sub(ring, place - 9, place) == text then
    local previous = call('GET', key_of(c.prefix, symbol, text))
    local previous_ms = previous and string.match(previous, '"event_time_ms":(%d+)')
    return not previous_ms or tonumber(previous_ms) <= at
  end
  if place == 0 and #ring >= limit * 10 then return false end
  ring = string.sub(ring, 1, place) .. text .. string.sub(ring, place + 1)
  key_changes = key_changes + 1
  return true
end

local function write_key(at, value)
  local second = math.floor(at / 1000)
  if second <= c.now - c.ttl then return end
  if enter_ring(second, at) then
    call('SET', key_of(c.prefix, symbol, whole(second)), value, 'EX', c.ttl)
  end
end

local function finish_symbol()
  if newest then
    call('SET', 'latest:' .. c.prefix .. ':' .. symbol, newest, 'EX', c.ttl)
    new_texts[#new_texts + 1], new_texts[#new_texts + 2] = symbol, newest
    new_events[#new_events + 1], new_events[#new_events + 2] = symbol, whole(held)
  end
  local excess
  ring, excess = trimmed(ring, c.prefix, symbol, limit)
  key_changes = key_changes - excess
  new_rings[#new_rings + 1], new_rings[#new_rings + 2] = symbol, ring
end

local number = 0
for i = 1, #values, 4 do
  if values[i] ~= symbol then
    number = number + 1
    symbol, newest = values[i], nil
    held, ring = tonumber(events[number] or '-1'), rings[number] or ''
  end
  local at, value = values[i + 1], values[i + 2]
  -- Of many values of a symbol, the first ones would leave the ring at once.
  if limit > 0 and values[i + 4 * limit] ~= symbol then write_key(at, value) end
  write_packed(at, values[i + 3])
  if at >= held then held, newest = at, value end
  if values[i + 4] ~= symbol then finish_symbol() end
end
if number > 0 then
  if #new_events > 0 then
    call('HSET', versions, unpack(new_events))
    if c.hash ~= '' then call('HSET', c.hash, unpack(new_texts)) end
  end
  call('HSET', rings_of(feed), unpack(new_rings))
  local bytes = 0
  for minute, size in pairs(added) do
    call('HINCRBY', minutes_of(feed), minute, size)
    bytes = bytes + size
  end
  call('HINCRBY', SUMS, feed .. ':bytes', bytes)
  call('HINCRBY', SUMS, feed .. ':keys', key_changes)
  call('HSET', SUMS, feed .. ':prefix', c.prefix, feed .. ':symbols', call('HLEN', versions))
  for shape, identifier in pairs(cjson.decode(ARGV[2])) do
    call('HSET', 'pipeline:shapes:' .. feed, identifier, shape)
  end
end
-- A check without values leaves no trace: each command would be in the server's log on disk.
if c.marker ~= c.expected then
  call('HSET', writers, c.writer, c.marker)
  for _, key in ipairs({versions, writers, SUMS, 'pipeline:shapes:' .. feed}) do
    call('EXPIRE', key, math.max(604800, c.ttl))
  end
  for _, key in ipairs({minutes_of(feed), rings_of(feed)}) do call('EXPIRE', key, c.ttl + 60) end
end
local all = sums()
local sum = all[feed] or {}
return {1, whole(feed_bytes(sum)), whole(total_bytes(all)), whole(sum.floor or 0),
        sum.reason or '', whole(used), whole(maximum)}
"""
)

# ARGV: as above, without values. Writes a new marker; returns the Unix time up to which a writer
# of the same partitions had written all values; 0 if the server does not hold it.
BEGIN = (
    _LIBRARY
    + """
make_room(0)
local writers, complete_until_s = 'pipeline:writers:' .. feed, 0
local entries = call('HGETALL', writers)
for i = 1, #entries, 2 do
  local until_s, partitions = string.match(entries[i + 1], '^[^|]*|([%d.]+)|(.*)$')
  until_s = tonumber(until_s)
  if partitions == c.partitions then complete_until_s = math.max(complete_until_s, until_s) end
  -- Every start has a name of its own. A running writer that is forgotten begins a rebuild.
  if #entries > 100 and until_s < c.now - 3600 then call('HDEL', writers, entries[i]) end
end
local text = string.format('%.3f', complete_until_s)
call('HSET', writers, c.writer, c.stamp .. '|' .. text .. '|' .. c.partitions)
call('EXPIRE', writers, 604800)
return text
"""
)

# One publish per interval and channel, however many consumers there are. A full server refuses to
# remember the interval; its clients are notified all the same.
PUBLISH = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.pcall('SET', KEYS[1], '1', 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""
