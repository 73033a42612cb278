/**
 * Capabilities: what a push URL carries. Sealed, so that any relay of any provider can tell a good one from a bad one
 * without a look-up, and so that two push URLs of one mailbox have nothing in common. A message's address is sealed in a
 * cheaper way (`message-address.ts`).
 *
 * Layout: key id 4 | salt 16 | AES-256-GCM ciphertext and tag. Each capability is sealed under a key of its own,
 * HMAC-SHA256(ring key, label ‖ salt), which makes a constant nonce safe and lets one ring key seal far more than
 * the 2^32 messages that random nonces would allow (NIST SP 800-38D §8.3).
 *
 * Opening does the same work for every failure.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { CapabilityKey, KeyRing } from './key-ring.ts';
import type { MailboxId } from './mailbox.ts';

/** What a push URL grants: to send to one mailbox. */
export interface PushCapability {
  /** 16 random bytes; part of the id of every message sent through it. */
  readonly id: Uint8Array;
  readonly mailbox: MailboxId;
  /** Wall clock, seconds; 0 when it does not expire. */
  readonly expiresSeconds: number;
  /** SHA-256 of the only VAPID key (RFC 8292) that may send, or undefined when anybody with the URL may. */
  readonly vapidKeyHash: Uint8Array | undefined;
}

/**
 * `unknown`: not sealed by this fleet, or altered. `key_unknown`: sealed with a key that this ring does not have;
 * it may be one that has not arrived here yet, so it says nothing against the capability.
 */
export type CapabilityFault = 'unknown' | 'key_unknown' | 'expired';

const SALT_BYTES = 16;
const TAG_BYTES = 16;
const HEAD_BYTES = 4 + SALT_BYTES;
const LABEL = 'push\0';
const NONCE = Buffer.alloc(12);
/** The longest capability text that is looked at. */
const TEXT_MAX = 200;
const NO_KEY: CapabilityKey = { id: 'AAAAAA', key: Buffer.alloc(32) };

/** Seals a push capability as the text that follows `/p/`. */
export function sealPush(capability: PushCapability, ring: KeyRing): string {
  const content = new ByteWriter()
    .base64url(capability.mailbox)
    .u32(capability.expiresSeconds)
    .bytes(capability.vapidKeyHash ?? Buffer.alloc(0))
    .finish();
  return seal(capability.id, content, ring.minting);
}

/** Opens the sealed text of a push URL (AEAD, docs/protocol.md). `nowMs`: wall clock, for its expiry. */
export function openPush(
  text: string,
  ring: KeyRing,
  nowSeconds: number,
): Result<PushCapability, CapabilityFault> {
  const opened = open(text, ring);
  if (!opened.ok) return opened;
  const reader = new ByteReader(opened.value.content);
  const mailbox = reader.base64url(32) as MailboxId;
  const expiresSeconds = reader.u32();
  const vapidKeyHash = reader.remaining === 0 ? undefined : reader.bytes(32);
  if (reader.malformed) return fail('unknown');
  if (expiresSeconds !== 0 && expiresSeconds <= nowSeconds) return fail('expired');
  return ok({ id: opened.value.salt, mailbox, expiresSeconds, vapidKeyHash });
}

function seal(salt: Uint8Array, content: Uint8Array, key: CapabilityKey): string {
  const head = Buffer.concat([Buffer.from(key.id, 'base64url'), salt]);
  const cipher = createCipheriv('aes-256-gcm', keyFor(salt, key), NONCE).setAAD(head);
  return Buffer.concat([head, cipher.update(content), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  );
}

interface Opened {
  readonly salt: Uint8Array;
  readonly content: Uint8Array;
}

function open(text: string, ring: KeyRing): Result<Opened, CapabilityFault> {
  const wellFormed = text.length <= TEXT_MAX && /^[A-Za-z0-9_-]+$/.test(text);
  const given = Buffer.from(wellFormed ? text : '', 'base64url');
  const bytes = given.length > HEAD_BYTES + TAG_BYTES ? given : Buffer.alloc(HEAD_BYTES + TAG_BYTES + 36);
  const head = bytes.subarray(0, HEAD_BYTES);
  const salt = bytes.subarray(4, HEAD_BYTES);
  const known = ring.keys.get(head.toString('base64url', 0, 4));
  const decipher = createDecipheriv('aes-256-gcm', keyFor(salt, known ?? NO_KEY), NONCE)
    .setAAD(head)
    .setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  try {
    const content = Buffer.concat([
      decipher.update(bytes.subarray(HEAD_BYTES, bytes.length - TAG_BYTES)),
      decipher.final(),
    ]);
    // Only one spelling of a capability is good: the last character of base64url may have unused bits.
    if (known !== undefined && given.toString('base64url') === text) return ok({ salt, content });
  } catch {
    // GCM authentication failed: told apart below by what is known of the key, never by the cipher's words.
  }
  return fail(known === undefined && given.length > HEAD_BYTES + TAG_BYTES ? 'key_unknown' : 'unknown');
}

function keyFor(salt: Uint8Array, key: CapabilityKey): Buffer {
  return createHmac('sha256', key.key).update(LABEL).update(salt).digest();
}
