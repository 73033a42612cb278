/**
 * The Lua scripts of the Redis store, and the layout of its keys.
 *
 * Every write is one script (those that write are in `redis-write-scripts.ts`), so a message and its page of debts, or
 * an ack and the deletions it causes, are on disk together or not at all. A script derives its keys from the partition:
 * all of them carry the partition as hash tag, so on Redis Cluster they live in the slot of the one key that is declared.
 *
 * Layout; ids are raw (16 bytes), a member is kind (`m` or `a`), mailbox tag (24) and id:
 *   m:{p}:<tag>   HASH  message id → record             i:{p}:<tag>   ZSET  message id by acceptedMs
 *   t:{p}:<tag>   HASH  name → ack id (tombstone)         a:{p}         HASH  tag and ack id → sealed ack record
 *   x:{p}         ZSET  member by expiry                 o:{p}:<site>  ZSET  member by the time it became owed
 *   o:{p}         HASH  name of a page → members that are owed to the sites in its name; see `redis-pages.ts`
 *   d:{p}         STRING for each slice the sum of the weights of its members (`digest.ts`), 64 bits, kept by whatever
 *                 changes `x:{p}`
 *   e:{p}         STRING the epoch, at one partition of each node
 *
 * The name of a tombstone is a message's id, and of a retraction id and commitment, so that it means no other message.
 * Nothing expires by Redis's clock: a clock that is wrong there must not delete unread mail.
 */
import { DIGEST_OF, NAMES_OF, type Script, script } from './redis-lua.ts';
import { BURY, INSERT, OWE, SETTLE } from './redis-write-scripts.ts';

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
local next_one = redis.call('ZRANGE', x, 0, 0, 'WITHSCORES')[2]
if not next_one then redis.call('DEL', 'd:{' .. p .. '}') end
return { messages, #due, next_one }`);

/**
 * ARGV: partition, fromMs, limit. Gives the sums of the digest, and member, expiry … of what expires at `fromMs` or
 * earlier, no more than `limit`.
 */
export const DIGEST: Script = script(`#!lua flags=no-writes
local p = ARGV[1]
return {
  redis.pcall('GET', 'd:{' .. p .. '}'),
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

/**
 * ARGV: partition, sites. Gives for each site how many entries it is owed, and since when ('' for never). What is no outbox
 * owes nothing, and is made anew by whatever is owed next.
 */
export const DEBT: Script = script(`#!lua flags=no-writes
local debts = {}
for n = 2, #ARGV do
  local o = 'o:{' .. ARGV[1] .. '}:' .. ARGV[n]
  local count = redis.pcall('ZCARD', o)
  if type(count) == 'table' then count = 0 end
  debts[#debts + 1] = count
  debts[#debts + 1] = count > 0 and redis.call('ZRANGE', o, 0, 0, 'WITHSCORES')[2] or ''
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
  OWE,
  SETTLE,
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
