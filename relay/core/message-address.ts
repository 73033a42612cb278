/**
 * A message's address: what follows `/m/` in the `Location` of a 201. It grants to retract this one message, and tells
 * nothing to whoever sees it.
 *
 * Layout: key id 4 | V 16 | content 56, encrypted. Every 201 has one, so it is made of one-shot hashes: with an object of
 * Node for a key derivation, a MAC and a cipher each it took a fifth of all that a relay does for a message. It is
 * deterministic authenticated encryption (SIV; Rogaway, Shrimpton 2006): V is a keyed hash of the content, and the
 * content is encrypted with a key stream that follows from V. SHA-256 behind a secret block is a pseudorandom function of
 * inputs of one length (the cascade; Bellare, Canetti, Krawczyk 1996), and each of the two secret blocks has one length.
 *
 * Opening does the same work for every failure.
 */
import { hash, hkdfSync, timingSafeEqual } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { ByteReader } from './bytes.ts';
import type { CapabilityKey, KeyRing } from './key-ring.ts';
import { type MailboxTag, parseMailboxTag } from './mailbox.ts';
import type { MessageId } from './message.ts';
import { OPENING_BYTES } from './retraction.ts';

/** What a message's address grants: to retract this message, and nothing else. */
export interface MessageAddress {
  readonly mailbox: MailboxTag;
  readonly id: MessageId;
  /** What proves it to other sites, 16 bytes as base64url; see `retraction.ts`. */
  readonly opening: string;
}

/**
 * `unknown`: not sealed by this fleet, or altered. `key_unknown`: sealed with a key that this ring does not have;
 * it may be one that has not arrived here yet, so it says nothing against the address.
 */
type MessageAddressFault = 'unknown' | 'key_unknown';

/** Both parts of what a capability key is expanded to, in front of room for what is hashed behind them. */
interface Secrets {
  /** Block, then the content. */
  readonly toBind: Buffer;
  /** Block, then V and the number of a piece of the key stream. */
  readonly toStream: Buffer;
  readonly keyId: Buffer;
}

const INFO = 'archipelago message address v1';
const BLOCK_BYTES = 64;
const KEY_ID_BYTES = 4;
const V_BYTES = 16;
const TAG_BYTES = 24;
const ID_BYTES = 16;
const CONTENT_BYTES: number = TAG_BYTES + ID_BYTES + OPENING_BYTES;
const PIECE_BYTES = 32;
const ADDRESS_BYTES: number = KEY_ID_BYTES + V_BYTES + CONTENT_BYTES;
const NO_KEY: CapabilityKey = { id: 'AAAAAA', key: Buffer.alloc(32) };

const expanded = new WeakMap<CapabilityKey, Secrets>();

/** Seals a message's address. The same message always has the same address, at every relay. */
export function sealMessageAddress({ mailbox, id, opening }: MessageAddress, { minting }: KeyRing): string {
  const { toBind, toStream, keyId } = secretsOf(minting);
  toBind.write(mailbox, BLOCK_BYTES, TAG_BYTES, 'latin1');
  toBind.write(id, BLOCK_BYTES + TAG_BYTES, ID_BYTES, 'base64url');
  toBind.write(opening, BLOCK_BYTES + TAG_BYTES + ID_BYTES, OPENING_BYTES, 'base64url');
  const address = Buffer.allocUnsafe(ADDRESS_BYTES);
  address.set(keyId);
  address.write(hash('sha256', toBind, 'latin1'), KEY_ID_BYTES, V_BYTES, 'latin1');
  address.copy(toStream, BLOCK_BYTES, KEY_ID_BYTES, KEY_ID_BYTES + V_BYTES);
  toBind.copy(address, KEY_ID_BYTES + V_BYTES, BLOCK_BYTES);
  addKeyStream(toStream, address.subarray(KEY_ID_BYTES + V_BYTES));
  return address.toString('base64url');
}

/** Opens what `sealMessageAddress` made at any relay of the fleet. Never throws. */
export function openMessageAddress(
  text: string,
  { keys }: KeyRing,
): Result<MessageAddress, MessageAddressFault> {
  const given = Buffer.from(text.slice(0, 2 * ADDRESS_BYTES), 'base64url');
  // Only one spelling of an address is good: the last character of base64url may have unused bits.
  const isWellFormed = given.length === ADDRESS_BYTES && given.toString('base64url') === text;
  const address = isWellFormed ? given : Buffer.alloc(ADDRESS_BYTES);
  const known = keys.get(address.toString('base64url', 0, KEY_ID_BYTES));
  const { toBind, toStream } = secretsOf(known ?? NO_KEY);
  const v = address.subarray(KEY_ID_BYTES, KEY_ID_BYTES + V_BYTES);
  const content = address.subarray(KEY_ID_BYTES + V_BYTES);
  toStream.set(v, BLOCK_BYTES);
  addKeyStream(toStream, content);
  toBind.set(content, BLOCK_BYTES);
  const isOurs = timingSafeEqual(hash('sha256', toBind, 'buffer').subarray(0, V_BYTES), v);
  const reader = new ByteReader(content);
  const mailbox = parseMailboxTag(reader.latin1(TAG_BYTES));
  const id = reader.base64url(ID_BYTES) as MessageId;
  const opening = reader.base64url(OPENING_BYTES);
  if (!isWellFormed) return fail('unknown');
  if (known === undefined) return fail('key_unknown');
  return isOurs && mailbox !== undefined ? ok({ mailbox, id, opening }) : fail('unknown');
}

/** Encrypts, or decrypts, in place; V stands in `toStream` already. */
function addKeyStream(toStream: Buffer, content: Buffer): void {
  for (let at = 0; at < CONTENT_BYTES; at += PIECE_BYTES) {
    toStream[BLOCK_BYTES + V_BYTES] = at / PIECE_BYTES;
    const piece = hash('sha256', toStream, 'latin1');
    const length = Math.min(CONTENT_BYTES - at, PIECE_BYTES);
    for (let nth = 0; nth < length; nth += 1) {
      content[at + nth] = (content[at + nth] ?? 0) ^ piece.charCodeAt(nth);
    }
  }
}

/** One expansion for each key of the ring (HKDF, RFC 5869), kept as long as the key itself. */
function secretsOf(key: CapabilityKey): Secrets {
  const known = expanded.get(key);
  if (known !== undefined) return known;
  const blocks = Buffer.from(hkdfSync('sha256', key.key, '', INFO, 2 * BLOCK_BYTES));
  const secrets = {
    toBind: Buffer.concat([blocks.subarray(0, BLOCK_BYTES), Buffer.alloc(CONTENT_BYTES)]),
    toStream: Buffer.concat([blocks.subarray(BLOCK_BYTES), Buffer.alloc(V_BYTES + 1)]),
    keyId: Buffer.from(key.id, 'base64url'),
  };
  expanded.set(key, secrets);
  return secrets;
}
