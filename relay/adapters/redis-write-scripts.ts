/**
 * The Lua scripts that write what callers bring: messages, acks, and what is no longer owed. The layout of the keys is
 * described in `redis-scripts.ts`.
 *
 * A script takes a whole batch, packed into one argument (`redis-packing.ts`): Redis reads a command of many arguments
 * piece by piece and would answer, and fsync, between two commands of one write. Items of one partition stand together.
 * On Redis Cluster a batch is of one partition, whose expiry index is the declared key.
 */
import { TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import { CONTENT_AT } from '../core/message.ts';
import { OUTBOX_ENTRIES_MAX } from '../ports.ts';
import { COMMITMENT_OF, DIGEST_OF, NAMES_OF, type Script, script } from './redis-lua.ts';

/**
 * KEYS: the hash of pages. ARGV[2] and further: the names of pages (`redis-pages.ts`). An item names the page on which
 * what it writes is owed by its place, from 1; 0 for none.
 */
const PAGES = `
local on_page = {}
local function owe(page, member)
  if page == 0 then return end
  local members = on_page[page] or {}
  members[#members + 1] = member
  on_page[page] = members
end
local function write_pages()
  local fields = {}
  for page, members in pairs(on_page) do
    fields[#fields + 1] = ARGV[page + 1]
    fields[#fields + 1] = table.concat(members)
  end
  if #fields > 0 and type(redis.pcall('HSET', KEYS[1], unpack(fields))) == 'table' then
    -- It is no hash: nothing of it can be used.
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], unpack(fields))
  end
end`;

/**
 * ARGV: the messages as `packInsertions` packs them, names of pages. Gives for each 0 stored, 1 duplicate, 2 buried, 3
 * expired, 4 other kept, 5 failed because something that it met is broken, which takes no other along. What has expired
 * and was not swept yet is replaced, and so is the same content by a copy that lives longer; other content under the
 * same id is not. A message that comes after its ack prolongs the tombstone, which could not know how long the message
 * would live.
 */
export const INSERT: Script = script(`#!lua
${COMMITMENT_OF}
${DIGEST_OF}
${PAGES}
local call, unpack_item = redis.call, struct.unpack
local function outcome_beside(x, member, old, new, expires, now)
  local until_ms = tonumber(call('ZSCORE', x, member) or 0)
  if until_ms <= now then return 0 end
  if string.sub(old, ${CONTENT_AT + 1}, -17) ~= string.sub(new, ${CONTENT_AT + 1}, -17) then return 4 end
  if expires > until_ms then return 0 end
  return 1
end
local function insert(p, tag, id, accepted, expires_text, now, page, record)
  local expires = tonumber(expires_text)
  if expires <= now then return 3 end
  local x, mailbox, member = 'x:{' .. p .. '}', ':{' .. p .. '}:' .. tag, 'm' .. tag .. id
  local acks = call('HMGET', 't' .. mailbox, id, id .. commitment_of(record))
  local ack = acks[1] or acks[2]
  if ack then
    call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, 'a' .. tag .. ack)
    return 2
  end
  local messages = 'm' .. mailbox
  if call('HSETNX', messages, id, record) == 0 then
    local outcome = outcome_beside(x, member, call('HGET', messages, id), record, expires, now)
    if outcome ~= 0 then return outcome end
    call('HSET', messages, id, record)
  end
  call('ZADD', 'i' .. mailbox, accepted, id)
  local before
  if call('ZADD', x, 'NX', expires_text, member) == 0 then
    before = call('ZSCORE', x, member)
    call('ZADD', x, expires_text, member)
  end
  if before then weigh(member, before, -1) end
  weigh(member, expires, 1)
  owe(page, member)
  return 0
end
local packed, at, count, outcomes, p = ARGV[1], 1, 0, {}, nil
while at <= #packed do
  local tag, id, accepted, expires, now, page, record
  tag, id, accepted, expires, now, page, record, at = unpack_item('>c24c16c16c16c16I2I4c0', packed, at)
  local partition = string.sub(tag, 1, 2)
  if partition ~= p then
    if p then tally(p) end
    p = partition
  end
  local is_done, outcome = pcall(insert, p, tag, id, accepted, expires, tonumber(now), page, record)
  count = count + 1
  outcomes[count] = is_done and outcome or 5
end
if p then tally(p) end
write_pages()
return outcomes`);

/**
 * ARGV: the acks as `packBurials` packs them, names of pages. Gives for each 1 when it was not known, 0 when it was, 2
 * when it failed as a message may. Runs out of memory as well, because it is what frees memory.
 */
export const BURY: Script = script(`#!lua flags=allow-oom
${DIGEST_OF}
${PAGES}
${NAMES_OF}
${COMMITMENT_OF}
local function ids_of(mailbox, names)
  local ids, seen = {}, {}
  for _, name in ipairs(names) do
    local id = string.sub(name, 1, 16)
    local record = #name > 16 and redis.call('HGET', 'm' .. mailbox, id)
    local is_named = #name == 16 or (record and commitment_of(record) == string.sub(name, 17))
    -- Named twice is weighed once.
    if is_named and not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
  return ids
end
local function bury(p, tag, ack, expires, page, record)
  local x, a = 'x:{' .. p .. '}', 'a:{' .. p .. '}'
  local mailbox, member = ':{' .. p .. '}:' .. tag, 'a' .. tag .. ack
  if redis.call('HEXISTS', a, tag .. ack) == 1 then
    redis.call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, member)
    return 0
  end
  local names = names_of(record)
  local ids, members, tombstones = ids_of(mailbox, names), {}, {}
  for n, id in ipairs(ids) do members[n] = 'm' .. tag .. id end
  if #ids > 0 then
    local scores = redis.call('ZMSCORE', x, unpack(members))
    redis.call('HDEL', 'm' .. mailbox, unpack(ids))
    redis.call('ZREM', 'i' .. mailbox, unpack(ids))
    redis.call('ZREM', x, unpack(members))
    for n, score in ipairs(scores) do
      if score then
        expires = math.max(expires, tonumber(score))
        weigh(members[n], score, -1)
      end
    end
  end
  expires = expires + ${TOMBSTONE_SLACK_MS}
  for n, earlier in ipairs(redis.call('HMGET', 't' .. mailbox, unpack(names))) do
    local until_ms = earlier and redis.call('ZSCORE', x, 'a' .. tag .. earlier)
    if not until_ms or tonumber(until_ms) < expires then
      tombstones[#tombstones + 1] = names[n]
      tombstones[#tombstones + 1] = ack
    end
  end
  if #tombstones > 0 then redis.call('HSET', 't' .. mailbox, unpack(tombstones)) end
  redis.call('HSET', a, tag .. ack, record)
  if redis.call('ZADD', x, expires, member) == 1 then weigh(member, expires, 1) end
  owe(page, member)
  return 1
end
local packed, at, count, outcomes, p = ARGV[1], 1, 0, {}, nil
while at <= #packed do
  local tag, ack, expires, now, page, record
  tag, ack, expires, now, page, record, at = struct.unpack('>c24c16c16c16I2I4c0', packed, at)
  local partition = string.sub(tag, 1, 2)
  if partition ~= p then
    if p then tally(p) end
    p = partition
  end
  local is_done, outcome = pcall(bury, p, tag, ack, tonumber(expires), page, record)
  count = count + 1
  outcomes[count] = is_done and outcome or 2
end
if p then tally(p) end
write_pages()
return outcomes`);

/**
 * ARGV: entries of outboxes as `packOutboxes` packs them, their sites. Gives how many found no room: they are found by
 * comparing digests instead, and counted.
 */
export const OWE: Script = script(`#!lua flags=allow-oom
local packed, at, full = ARGV[1], 1, 0
while at <= #packed do
  local p, site, time, count
  p, site, time, count, at = struct.unpack('>c2I2c16I2', packed, at)
  local o = 'o:{' .. p .. '}:' .. ARGV[site + 1]
  local held = redis.pcall('ZCARD', o)
  if type(held) == 'table' then
    -- It is no outbox: nothing of it can be used, and it must not keep what is owed elsewhere.
    redis.call('DEL', o)
    held = 0
  end
  local entries, room = {}, ${OUTBOX_ENTRIES_MAX} - held
  for n = 1, count do
    if n <= room then
      entries[2 * n - 1], entries[2 * n] = time, string.sub(packed, at, at + 40)
    end
    at = at + 41
  end
  if #entries > 0 then redis.call('ZADD', o, unpack(entries)) end
  full = full + math.max(0, count - math.max(0, room))
end
return full`);

/** ARGV: entries of outboxes as `packOutboxes` packs them, their sites. Takes them out. */
export const SETTLE: Script = script(`#!lua flags=allow-oom
local packed, at = ARGV[1], 1
while at <= #packed do
  local p, site, time, count
  p, site, time, count, at = struct.unpack('>c2I2c16I2', packed, at)
  local members = {}
  for n = 1, count do
    members[n] = string.sub(packed, at, at + 40)
    at = at + 41
  end
  redis.pcall('ZREM', 'o:{' .. p .. '}:' .. ARGV[site + 1], unpack(members))
end
return 1`);
