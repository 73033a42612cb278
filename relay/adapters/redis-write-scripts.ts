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

/** The lists of sites that items name by their place: ARGV[2] and further, each with commas between the sites. */
const SITES_OF = `
local sites_of = {}
for n = 2, #ARGV do
  local sites = {}
  for site in string.gmatch(ARGV[n], '[^,]+') do sites[#sites + 1] = site end
  sites_of[n - 1] = sites
end`;

/**
 * An outbox takes no more than its limit; what it does not take is found by comparing digests instead, and is
 * counted.
 */
const OWE = `
local full, room = 0, {}
local function owe(p, sites, now, member)
  for n = 1, #sites do
    local o = 'o:{' .. p .. '}:' .. sites[n]
    local left = room[o] or ${OUTBOX_ENTRIES_MAX} - redis.call('ZCARD', o)
    if left > 0 then
      redis.call('ZADD', o, now, member)
      left = left - 1
    else full = full + 1 end
    room[o] = left
  end
end`;

/**
 * ARGV: the messages as `packInsertions` packs them, lists of sites. Gives for each 0 stored, 1 duplicate, 2 buried, 3
 * expired, 4 other kept, and at last how many outbox entries found no room. What has expired and was not swept yet is
 * replaced, and so is the same content by a copy that lives longer; other content under the same id is not. A message
 * that comes after its ack prolongs the tombstone, which could not know how long the message would live.
 */
export const INSERT: Script = script(`#!lua
${COMMITMENT_OF}
${DIGEST_OF}
${SITES_OF}
${OWE}
local call, unpack_item = redis.call, struct.unpack
local function outcome_beside(x, member, old, new, expires, now)
  local until_ms = tonumber(call('ZSCORE', x, member) or 0)
  if until_ms <= now then return 0 end
  if string.sub(old, ${CONTENT_AT + 1}, -17) ~= string.sub(new, ${CONTENT_AT + 1}, -17) then return 4 end
  if expires > until_ms then return 0 end
  return 1
end
local packed, at, count, outcomes, p = ARGV[1], 1, 0, {}, nil
while at <= #packed do
  local tag, id, accepted, expires_text, now_text, list, record
  tag, id, accepted, expires_text, now_text, list, record, at =
    unpack_item('>c24c16c16c16c16I2I4c0', packed, at)
  local partition, expires, now = string.sub(tag, 1, 2), tonumber(expires_text), tonumber(now_text)
  if partition ~= p then
    if p then tally(p) end
    p = partition
  end
  local x, mailbox, member = 'x:{' .. p .. '}', ':{' .. p .. '}:' .. tag, 'm' .. tag .. id
  local messages = 'm' .. mailbox
  local outcome, is_written = 0, false
  if expires <= now then
    outcome = 3
  else
    local acks = call('HMGET', 't' .. mailbox, id, id .. commitment_of(record))
    local ack = acks[1] or acks[2]
    if ack then
      call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, 'a' .. tag .. ack)
      outcome = 2
    elseif call('HSETNX', messages, id, record) == 1 then
      is_written = true
    else
      outcome = outcome_beside(x, member, call('HGET', messages, id), record, expires, now)
    end
    if outcome == 0 then
      if not is_written then call('HSET', messages, id, record) end
      call('ZADD', 'i' .. mailbox, accepted, id)
      if call('ZADD', x, 'NX', expires_text, member) == 0 then
        weigh(member, call('ZSCORE', x, member), -1)
        call('ZADD', x, expires_text, member)
      end
      weigh(member, expires, 1)
      owe(p, sites_of[list], now_text, member)
    end
  end
  count = count + 1
  outcomes[count] = outcome
end
if p then tally(p) end
outcomes[count + 1] = full
return outcomes`);

/**
 * ARGV: the acks as `packBurials` packs them, lists of sites. Gives for each 1 when it was not known, and at last how
 * many outbox entries found no room. Runs out of memory as well, because it is what frees memory.
 */
export const BURY: Script = script(`#!lua flags=allow-oom
${DIGEST_OF}
${SITES_OF}
${OWE}
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
local packed, at, count, outcomes, p = ARGV[1], 1, 0, {}, nil
while at <= #packed do
  local tag, ack, expires, now_text, list, record
  tag, ack, expires, now_text, list, record, at = struct.unpack('>c24c16c16c16I2I4c0', packed, at)
  expires = tonumber(expires)
  if string.sub(tag, 1, 2) ~= p then
    if p then tally(p) end
    p = string.sub(tag, 1, 2)
  end
  local x, a = 'x:{' .. p .. '}', 'a:{' .. p .. '}'
  local mailbox = ':{' .. p .. '}:' .. tag
  local member = 'a' .. tag .. ack
  local outcome = 0
  if redis.call('HEXISTS', a, tag .. ack) == 1 then
    redis.call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, member)
  else
    local names = names_of(record)
    local ids, members, tombstones = ids_of(mailbox, names), {}, {}
    for n, id in ipairs(ids) do members[n] = 'm' .. tag .. id end
    if #ids > 0 then
      for n, score in ipairs(redis.call('ZMSCORE', x, unpack(members))) do
        if score then
          expires = math.max(expires, tonumber(score))
          weigh(members[n], score, -1)
        end
      end
      redis.call('HDEL', 'm' .. mailbox, unpack(ids))
      redis.call('ZREM', 'i' .. mailbox, unpack(ids))
      redis.call('ZREM', x, unpack(members))
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
    owe(p, sites_of[list], now_text, member)
    outcome = 1
  end
  count = count + 1
  outcomes[count] = outcome
end
if p then tally(p) end
outcomes[count + 1] = full
return outcomes`);

/** ARGV: what is owed no longer as `packSettlements` packs it, lists of one site each. */
export const SETTLE: Script = script(`#!lua flags=allow-oom
local packed, at = ARGV[1], 1
while at <= #packed do
  local p, list, count
  p, list, count, at = struct.unpack('>c2I2I2', packed, at)
  local members = {}
  for n = 1, count do
    members[n] = string.sub(packed, at, at + 40)
    at = at + 41
  end
  redis.call('ZREM', 'o:{' .. p .. '}:' .. ARGV[list + 1], unpack(members))
end
return 1`);
