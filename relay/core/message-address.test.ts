/** Addresses of messages: what one opens to, and that nothing else is one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sealPush } from './capability.ts';
import type { KeyRing } from './key-ring.ts';
import { mailboxIdOf, mailboxTagOf } from './mailbox.ts';
import type { MessageId } from './message.ts';
import { openMessageAddress, sealMessageAddress } from './message-address.ts';

const ALPHABET = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');

function ringOf(id: string, fill: number): KeyRing {
  const minting = { id, key: new Uint8Array(32).fill(fill) };
  return { keys: new Map([[id, minting]]), minting, pepper: new Uint8Array(32).fill(9) };
}

const ring = ringOf('ABCDEA', 1);
const mailbox = mailboxIdOf(new Uint8Array(32).fill(5));
const message = {
  mailbox: mailboxTagOf(mailbox, ring.pepper),
  id: Buffer.alloc(16, 6).toString('base64url') as MessageId,
  opening: Buffer.alloc(16, 8).toString('base64url'),
};
const bytes16 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));

test('an address opens to its message at any relay with the key, and is the same every time', () => {
  fc.assert(
    fc.property(bytes16, bytes16, fc.integer({ min: 0, max: 255 }), (id, opening, fill) => {
      const tag = mailboxTagOf(mailboxIdOf(new Uint8Array(32).fill(fill)), ring.pepper);
      const one = { mailbox: tag, id: id as MessageId, opening };
      const text = sealMessageAddress(one, ring);
      expect(text).toMatch(/^[A-Za-z0-9_-]{102}$/);
      expect(sealMessageAddress(one, ringOf('ABCDEA', 1))).toBe(text);
      expect(openMessageAddress(text, ringOf('ABCDEA', 1))).toEqual({ ok: true, value: one });
    }),
  );
});

test('with any one character changed it is unknown, or of an unknown key', () => {
  const text = sealMessageAddress(message, ring);
  for (let at = 0; at < text.length; at += 1) {
    for (const replacement of ALPHABET.filter((character) => character !== text[at])) {
      const opened = openMessageAddress(text.slice(0, at) + replacement + text.slice(at + 1), ring);
      expect(opened.ok).toBe(false);
      if (!opened.ok && at > 5) expect(opened.fault).toBe('unknown');
    }
  }
});

test('whoever does not have the key makes none: under a known key id it is unknown, under another one of an unknown key', () => {
  const forged = sealMessageAddress(message, ringOf('ABCDEA', 2));
  expect(openMessageAddress(forged, ring)).toEqual({ ok: false, fault: 'unknown' });
  const foreign = sealMessageAddress(message, ringOf('ZZZZZA', 1));
  expect(openMessageAddress(foreign, ring)).toEqual({ ok: false, fault: 'key_unknown' });
});

test('it outlives a change of the minting key while the old key stays in the ring', () => {
  const text = sealMessageAddress(message, ring);
  const added = { id: 'NEWKEA', key: new Uint8Array(32).fill(7) };
  const later: KeyRing = { ...ring, keys: new Map([...ring.keys, [added.id, added]]), minting: added };
  expect(openMessageAddress(text, later)).toEqual({ ok: true, value: message });
  expect(openMessageAddress(sealMessageAddress(message, later), later).ok).toBe(true);
});

// What encrypts is a stream: two addresses under one stream would show where their contents differ.
test('two messages of one mailbox have nothing in common but the id of the sealing key', () => {
  const other = { ...message, id: Buffer.alloc(16, 7).toString('base64url') as MessageId };
  const [one, two] = [message, other].map((each) => Buffer.from(sealMessageAddress(each, ring), 'base64url'));
  const shared = (one ?? Buffer.alloc(0)).subarray(4).filter((byte, index) => byte === two?.[4 + index]);
  // Chance lets about one byte in 256 agree.
  expect(shared.length).toBeLessThan(8);
  expect(two?.toString('latin1')).not.toContain(message.mailbox.slice(0, 4));
});

test('every byte of what is encrypted depends on the key', () => {
  const [one, two] = [ring, ringOf('ABCDEA', 2)].map((each) =>
    Buffer.from(sealMessageAddress(message, each), 'base64url'),
  );
  const shared = (one ?? Buffer.alloc(0)).subarray(4).filter((byte, index) => byte === two?.[4 + index]);
  expect(shared.length).toBeLessThan(8);
});

test('a push URL is no address', () => {
  const push = sealPush(
    { id: Buffer.alloc(16, 3), mailbox, expiresSeconds: 0, vapidKeyHash: undefined },
    ring,
  );
  expect(openMessageAddress(push, ring)).toEqual({ ok: false, fault: 'unknown' });
});

test('arbitrary text is refused and never throws', () => {
  const underKnownKey = fc
    .uint8Array({ minLength: 72, maxLength: 72 })
    .map((bytes) => Buffer.concat([Buffer.from('ABCDEA', 'base64url'), bytes]).toString('base64url'));
  const texts = fc.oneof(
    fc.string({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 160 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    underKnownKey,
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(openMessageAddress(text, ring).ok).toBe(false);
    }),
  );
});
