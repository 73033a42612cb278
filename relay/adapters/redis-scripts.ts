/**
 * The Lua scripts of the Redis store, and the layout of its keys.
 *
 * Every write is one script per partition, so a message and its outbox entries, or an ack and the deletions it
 * causes, are on disk together or not at all. A script derives its keys from the partition: all of them carry the
 * partition as hash tag, so on Redis Cluster they live in the slot of the one key that is declared.
 *
 * Layout; ids are raw (16 bytes), a member is kind (`m` or `a`), mailbox tag (24) and id:
 *   m:{p}:<tag>   HASH  message id → record             i:{p}:<tag>   ZSET  message id by acceptedMs
 *   t:{p}:<tag>   HASH  name → ack id (tombstone)         a:{p}         HASH  tag and ack id → sealed ack record
 *   x:{p}         ZSET  member by expiry                 o:{p}:<site>  ZSET  member by the time it became owed
 *   d:{p}         HASH  slice → sum of the weights of its members (`digest.ts`), kept by whatever changes `x:{p}`
 *   e:{p}         STRING the epoch, at one partition of each node
 *
 * The name of a tombstone is a message's id, and of a retraction id and commitment, so that it means no other message.
 * Nothing expires by Redis's clock: a clock that is wrong there must not delete unread mail.
 */
import { createHash } from 'node:crypto';
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import { SLICES } from '../core/digest.ts';
import { COMMITMENT_BYTES, CONTENT_AT } from '../core/message.ts';
import { RETRACTION_COUNT_AT, RETRACTION_ITEM_BYTES, RETRACTION_VERSION } from '../core/retraction.ts';
import { OUTBOX_ENTRIES_MAX } from '../ports.ts';

export interface Script {
  readonly lua: string;
  /** SHA-1 of `lua`, hex: its name for EVALSHA. */
  readonly sha: string;
}

/** Where an ack's record has its count (u16) and then its ids; see `createAck`. Lua counts from 1. */
const COUNT_AT = 1 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES + 8 + 1;
/** The bytes of a retraction's item that name its message: the id and the commitment. */
const NAME_BYTES = 16 + COMMITMENT_BYTES;

/** The names of what a tombstone's record is the tombstone of, and the commitment in a message's record. */
const NAMES_OF = `
local function names_of(record)
  local at, step, size = ${COUNT_AT}, 16, 16
  if string.byte(record, 1) == ${RETRACTION_VERSION} then
    at, step, size = ${RETRACTION_COUNT_AT + 1}, ${RETRACTION_ITEM_BYTES}, ${NAME_BYTES}
  end
  local high, low = string.byte(record, at, at + 1)
  local names = {}
  if low then
    for n = 1, math.min(high * 256 + low, 512) do
      local from = at + 2 + (n - 1) * step
      names[n] = string.sub(record, from, from + size - 1)
    end
  end
  return names
end`;

const COMMITMENT_OF = `
local function commitment_of(record)
  return string.sub(record, ${CONTENT_AT + 1}, ${CONTENT_AT + COMMITMENT_BYTES})
end`;

/** `weigh` is `weightOf` and `sliceOf` of `digest.ts`; `tally` adds what was weighed to the digest, once per slice. */
const DIGEST_OF = `
local weighed = {}
local function weigh(member, score, sign)
  local a, b, c, d, e = string.byte(member, 26, 30)
  local weight = e and (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e or 0
  if string.byte(member, 1) == 109 then weight = weight + tonumber(score) end
  local slice = (string.byte(member, 41) or 0) % ${SLICES}
  weighed[slice] = (weighed[slice] or 0) + sign * weight
end
local function tally(p)
  local d = 'd:{' .. p .. '}'
  for slice, sum in pairs(weighed) do
    if sum ~= 0 then
      -- A damaged sum must not keep messages out: it is dropped, and made anew by the next RETALLY.
      local now = redis.pcall('HINCRBY', d, slice, string.format('%.0f', sum))
      if type(now) == 'table' or now == 0 then redis.call('HDEL', d, slice) end
    end
  end
  weighed = {}
end`;

/**
 * An outbox takes no more than its limit; what it does not take is found by comparing digests instead, and is
 * counted.
 */
const OWE = `
local full = 0
local function owe(p, site, now, member)
  local o = 'o:{' .. p .. '}:' .. site
  if redis.call('ZCARD', o) < ${OUTBOX_ENTRIES_MAX} then redis.call('ZADD', o, now, member)
  else full = full + 1 end
end`;

/**
 * ARGV: partition, nowMs, then for each message: tag, id, acceptedMs, expiresMs, record, number of sites, sites.
 * Gives for each 0 stored, 1 duplicate, 2 buried, 3 expired, 4 other kept, and at last how many outbox entries found no
 * room. What has expired and was not swept yet is replaced, and so is the same content by a copy that lives longer;
 * other content under the same id is not. A message that comes after its ack prolongs the tombstone, which could not
 * know how long the message would live.
 */
export const INSERT: Script = script(`#!lua
${COMMITMENT_OF}
${DIGEST_OF}
${OWE}
local function outcome_beside(x, member, old, new, expires, now)
  local until_ms = tonumber(redis.call('ZSCORE', x, member) or 0)
  if until_ms <= now then return 0 end
  if string.sub(old, ${CONTENT_AT + 1}, -17) ~= string.sub(new, ${CONTENT_AT + 1}, -17) then return 4 end
  if expires > until_ms then return 0 end
  return 1
end
local p, now, at, outcomes = ARGV[1], tonumber(ARGV[2]), 3, {}
local x = 'x:{' .. p .. '}'
while at <= #ARGV do
  local tag, id, expires, sites = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 5])
  local mailbox = ':{' .. p .. '}:' .. tag
  local outcome, is_written = 0, false
  if expires <= now then
    outcome = 3
  else
    local acks = redis.call('HMGET', 't' .. mailbox, id, id .. commitment_of(ARGV[at + 4]))
    local ack = acks[1] or acks[2]
    if ack then
      redis.call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, 'a' .. tag .. ack)
      outcome = 2
    elseif redis.call('HSETNX', 'm' .. mailbox, id, ARGV[at + 4]) == 1 then
      is_written = true
    else
      local old = redis.call('HGET', 'm' .. mailbox, id)
      outcome = outcome_beside(x, 'm' .. tag .. id, old, ARGV[at + 4], expires, now)
    end
    if outcome == 0 then
      local member = 'm' .. tag .. id
      if not is_written then redis.call('HSET', 'm' .. mailbox, id, ARGV[at + 4]) end
      redis.call('ZADD', 'i' .. mailbox, ARGV[at + 2], id)
      if redis.call('ZADD', x, 'NX', ARGV[at + 3], member) == 0 then
        weigh(member, redis.call('ZSCORE', x, member), -1)
        redis.call('ZADD', x, ARGV[at + 3], member)
      end
      weigh(member, expires, 1)
      for n = 1, sites do owe(p, ARGV[at + 5 + n], ARGV[2], member) end
    end
  end
  outcomes[#outcomes + 1] = outcome
  at = at + 6 + sites
end
tally(p)
outcomes[#outcomes + 1] = full
return outcomes`);

/**
 * ARGV: partition, nowMs, then for each ack: tag, id, expiresMs, sealed record, number of sites, sites. Gives for
 * each 1 when it was not known, and at last how many outbox entries found no room. Runs out of memory as well, because
 * it is what frees memory.
 */
export const BURY: Script = script(`#!lua flags=allow-oom
${DIGEST_OF}
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
local p, at, outcomes = ARGV[1], 3, {}
local x, a = 'x:{' .. p .. '}', 'a:{' .. p .. '}'
while at <= #ARGV do
  local tag, ack, expires, sites = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
  local mailbox = ':{' .. p .. '}:' .. tag
  local member = 'a' .. tag .. ack
  local outcome = 0
  if redis.call('HEXISTS', a, tag .. ack) == 1 then
    redis.call('ZADD', x, 'XX', 'GT', expires + ${TOMBSTONE_SLACK_MS}, member)
  else
    local names = names_of(ARGV[at + 3])
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
    redis.call('HSET', a, tag .. ack, ARGV[at + 3])
    if redis.call('ZADD', x, expires, member) == 1 then weigh(member, expires, 1) end
    tally(p)
    for n = 1, sites do owe(p, ARGV[at + 4 + n], ARGV[2], member) end
    outcome = 1
  end
  outcomes[#outcomes + 1] = outcome
  at = at + 5 + sites
end
outcomes[#outcomes + 1] = full
return outcomes`);

/**
 * ARGV: partition, tag, limit, nowMs. Gives id, record, id, record … of the head of a mailbox, without what has
 * expired; an empty record is one that is gone from under its index.
 */
export const PENDING: Script = script(`#!lua flags=no-writes
local p, tag, limit, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local mailbox, x = ':{' .. p .. '}:' .. tag, 'x:{' .. p .. '}'
local step, from, count, found = math.min(limit, 64), 0, 0, {}
while count < limit and from < 16384 do
  local ids = redis.call('ZRANGE', 'i' .. mailbox, from, from + step - 1)
  if #ids == 0 then break end
  local members, alive = {}, {}
  for n, id in ipairs(ids) do members[n] = 'm' .. tag .. id end
  for n, score in ipairs(redis.call('ZMSCORE', x, unpack(members))) do
    if #alive < limit - count and (not score or tonumber(score) > now) then alive[#alive + 1] = ids[n] end
  end
  if #alive > 0 then
    for n, record in ipairs(redis.call('HMGET', 'm' .. mailbox, unpack(alive))) do
      found[#found + 1] = alive[n]
      found[#found + 1] = record or ''
    end
  end
  count, from = count + #alive, from + step
end
return found`);

/**
 * ARGV: partition, kind, tag, id, SHA-1 of the damaged record. Forgets a damaged record, so that a copy from
 * another site counts as new, unless somebody has replaced it already. Tombstones stay. Gives 1 when there was
 * something to forget.
 */
export const DISCARD: Script = script(`#!lua flags=allow-oom
${DIGEST_OF}
local p, kind, tag, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mailbox = ':{' .. p .. '}:' .. tag
local key, field = 'm' .. mailbox, id
if kind == 'a' then key, field = 'a:{' .. p .. '}', tag .. id end
local record = redis.call('HGET', key, field)
if record and redis.sha1hex(record) ~= ARGV[5] then return 0 end
local gone = redis.call('HDEL', key, field)
if kind == 'm' then gone = gone + redis.call('ZREM', 'i' .. mailbox, id) end
local score = redis.call('ZSCORE', 'x:{' .. p .. '}', kind .. tag .. id)
if score then weigh(kind .. tag .. id, score, -1) end
gone = gone + redis.call('ZREM', 'x:{' .. p .. '}', kind .. tag .. id)
tally(p)
return gone > 0 and 1 or 0`);

/**
 * ARGV: partition, nowMs, limit. Gives how many messages and how many things in all it discarded, and when the next
 * thing expires, if there is any.
 */
export const EXPIRE: Script = script(`#!lua flags=allow-oom
${NAMES_OF}
${DIGEST_OF}
local p = ARGV[1]
local x, a = 'x:{' .. p .. '}', 'a:{' .. p .. '}'
local found = redis.call('ZRANGE', x, '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local messages, due = 0, {}
for n = 1, #found, 2 do
  local member = found[n]
  due[#due + 1] = member
  weigh(member, found[n + 1], -1)
  local tag, id = string.sub(member, 2, 25), string.sub(member, 26)
  local mailbox = ':{' .. p .. '}:' .. tag
  if string.sub(member, 1, 1) == 'm' then
    messages = messages + redis.call('HDEL', 'm' .. mailbox, id)
    redis.call('ZREM', 'i' .. mailbox, id)
  else
    local names = names_of(redis.call('HGET', a, tag .. id) or '')
    local mine = {}
    if #names > 0 then
      for n, ack in ipairs(redis.call('HMGET', 't' .. mailbox, unpack(names))) do
        if ack == id then mine[#mine + 1] = names[n] end
      end
    end
    if #mine > 0 then redis.call('HDEL', 't' .. mailbox, unpack(mine)) end
    redis.call('HDEL', a, tag .. id)
  end
end
if #due > 0 then redis.call('ZREM', x, unpack(due)) end
tally(p)
return { messages, #due, redis.call('ZRANGE', x, 0, 0, 'WITHSCORES')[2] }`);

/**
 * ARGV: partition, fromMs, limit. Gives the slices and sums of the digest, and member, expiry … of what expires at
 * `fromMs` or earlier, no more than `limit`.
 */
export const DIGEST: Script = script(`#!lua flags=no-writes
local p = ARGV[1]
return {
  redis.call('HGETALL', 'd:{' .. p .. '}'),
  redis.call('ZRANGE', 'x:{' .. p .. '}', '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
}`);

/** ARGV: partition. Makes the digest anew from what is there, in case it was damaged. */
export const RETALLY: Script = script(`#!lua
${DIGEST_OF}
local p = ARGV[1]
local found, from = nil, 0
redis.call('DEL', 'd:{' .. p .. '}')
repeat
  found = redis.call('ZRANGE', 'x:{' .. p .. '}', from, from + 999, 'WITHSCORES')
  for n = 1, #found, 2 do weigh(found[n], found[n + 1], 1) end
  tally(p)
  from = from + 1000
until #found == 0
return 1`);

/** KEYS: any. Writes nothing, but fails where nothing can be written, other than for want of memory. */
export const PROBE: Script = script(`#!lua flags=allow-oom
return redis.call('DEL', KEYS[1])`);

/** KEYS: the epoch. ARGV: its text as it was read ('' for none), its next text. Gives 1 when it was replaced. */
export const REPLACE_EPOCH: Script = script(`#!lua flags=allow-oom
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`);

/** ARGV: partition, sites. Gives for each site how many entries it is owed, and since when ('' for never). */
export const DEBT: Script = script(`#!lua flags=no-writes
local debts = {}
for n = 2, #ARGV do
  local o = 'o:{' .. ARGV[1] .. '}:' .. ARGV[n]
  debts[#debts + 1] = redis.call('ZCARD', o)
  debts[#debts + 1] = redis.call('ZRANGE', o, 0, 0, 'WITHSCORES')[2] or ''
end
return debts`);

/**
 * ARGV: partition, tag. Gives how many messages a mailbox holds, their bytes as far as its newest 16 tell, and whether
 * one of about 64 of its tombstones is its owner's ack: a retraction, which has a longer name, claims nothing.
 */
export const USAGE: Script = script(`#!lua flags=no-writes
local mailbox = ':{' .. ARGV[1] .. '}:' .. ARGV[2]
local count, bytes = redis.call('HLEN', 'm' .. mailbox), 0
local newest = redis.call('ZRANGE', 'i' .. mailbox, -16, -1)
if #newest > 0 then
  for _, record in ipairs(redis.call('HMGET', 'm' .. mailbox, unpack(newest))) do bytes = bytes + #(record or '') end
  bytes = math.floor(bytes * count / #newest)
end
local tombstones = redis.call('HSCAN', 't' .. mailbox, 0, 'COUNT', 64)[2]
local claimed = 0
for n = 1, #tombstones, 2 do if #tombstones[n] == 16 then claimed = 1 end end
return { count, bytes, claimed }`);

export const SCRIPTS: readonly Script[] = [
  INSERT,
  BURY,
  PENDING,
  DISCARD,
  EXPIRE,
  DIGEST,
  RETALLY,
  PROBE,
  REPLACE_EPOCH,
  DEBT,
  USAGE,
];

function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}
