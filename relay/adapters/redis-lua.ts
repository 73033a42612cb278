/**
 * What the Lua scripts of the Redis store have in common: how a script is named, and the Lua that several of them need.
 */
import { createHash } from 'node:crypto';
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '../core/ack.ts';
import { SLICES } from '../core/digest.ts';
import { COMMITMENT_BYTES, CONTENT_AT } from '../core/message.ts';
import { RETRACTION_COUNT_AT, RETRACTION_ITEM_BYTES, RETRACTION_VERSION } from '../core/retraction.ts';

export interface Script {
  readonly lua: string;
  /** SHA-1 of `lua`, hex: its name for EVALSHA. */
  readonly sha: string;
}

/** A script under the name by which EVALSHA knows it. */
export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/** Where an ack's record has its count (u16) and then its ids; see `createAck`. Lua counts from 1. */
const COUNT_AT = 1 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES + 8 + 1;
/** The bytes of a retraction's item that name its message: the id and the commitment. */
const NAME_BYTES = 16 + COMMITMENT_BYTES;

/** The names of what a tombstone's record is the tombstone of, and the commitment in a message's record. */
export const NAMES_OF: string = `
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

export const COMMITMENT_OF: string = `
local function commitment_of(record)
  return string.sub(record, ${CONTENT_AT + 1}, ${CONTENT_AT + COMMITMENT_BYTES})
end`;

/** `weigh` is `weightOf` and `sliceOf` of `digest.ts`; `tally` adds what was weighed to the digest, in one command. */
export const DIGEST_OF: string = `
local weighed = {}
local function weigh(member, score, sign)
  local a, b, c, d, e = string.byte(member, 26, 30)
  local weight = e and (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e or 0
  if string.byte(member, 1) == 109 then weight = weight + tonumber(score) end
  local slice = (string.byte(member, 41) or 0) % ${SLICES}
  weighed[slice] = (weighed[slice] or 0) + sign * weight
end
local function tally(p)
  local sums, n = {}, 0
  for slice, sum in pairs(weighed) do
    if sum ~= 0 then
      sums[n + 1], sums[n + 2], sums[n + 3], sums[n + 4] = 'INCRBY', 'i64', '#' .. slice, string.format('%.0f', sum)
      n = n + 4
    end
  end
  if n > 0 then
    local d = 'd:{' .. p .. '}'
    -- What is no digest must not keep messages out: it is dropped, and made anew by the next RETALLY.
    local now = redis.pcall('BITFIELD', d, unpack(sums))
    if now.err then redis.call('DEL', d) end
  end
  weighed = {}
end`;
