/** Capabilities: what a push URL tells, and to whom. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openPush, type PushCapability, sealPush } from './capability.ts';
import type { KeyRing } from './key-ring.ts';
import { type MailboxId, mailboxIdOf } from './mailbox.ts';

const NOW_SECONDS = 1_800_000_000;
const ALPHABET = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');

function ringOf(id: string, fill: number): KeyRing {
  const minting = { id, key: new Uint8Array(32).fill(fill) };
  return { keys: new Map([[id, minting]]), minting, pepper: new Uint8Array(32).fill(9) };
}

const ring = ringOf('ABCDEA', 1);
const mailbox: MailboxId = mailboxIdOf(new Uint8Array(32).fill(5));

function capability(fields: Partial<PushCapability> = {}): PushCapability {
  return { id: Buffer.alloc(16, 3), mailbox, expiresSeconds: 0, vapidKeyHash: undefined, ...fields };
}

describe('a push URL', () => {
  test('opens to what was sealed, at any relay with the key', () => {
    const sealed = capability({ expiresSeconds: NOW_SECONDS + 1, vapidKeyHash: Buffer.alloc(32, 8) });
    const text = sealPush(sealed, ring);
    expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(openPush(text, ringOf('ABCDEA', 1), NOW_SECONDS)).toEqual({ ok: true, value: sealed });
  });

  // The second has bits to spare in its last character: another spelling of the same bytes is not good either.
  test.each([
    ['for anybody', undefined],
    ['for one sender', Buffer.alloc(32, 8)],
  ])('%s with any one character changed is unknown, or of an unknown key', (_, vapidKeyHash) => {
    const text = sealPush(capability({ vapidKeyHash }), ring);
    for (let at = 0; at < text.length; at += 1) {
      for (const replacement of ALPHABET.filter((character) => character !== text[at])) {
        const opened = openPush(text.slice(0, at) + replacement + text.slice(at + 1), ring, NOW_SECONDS);
        // The first six characters carry the key id: a changed one may name a key that arrives later.
        expect(opened.ok).toBe(false);
        if (!opened.ok && at > 5) expect(opened.fault).toBe('unknown');
      }
    }
  });

  test('sealed by a ring that this relay does not have is no fault of the URL', () => {
    const opened = openPush(sealPush(capability(), ringOf('ZZZZZA', 2)), ring, NOW_SECONDS);
    expect(opened).toEqual({ ok: false, fault: 'key_unknown' });
  });

  test('forged under a known key id is unknown', () => {
    const opened = openPush(sealPush(capability(), ringOf('ABCDEA', 2)), ring, NOW_SECONDS);
    expect(opened).toEqual({ ok: false, fault: 'unknown' });
  });

  test('shares nothing with another of the same mailbox but the id of the sealing key', () => {
    const one = sealPush(capability(), ring);
    const other = sealPush(capability({ id: Buffer.alloc(16, 4) }), ring);
    const shared = [...Buffer.from(one, 'base64url').subarray(4)].filter(
      (byte, index) => byte === Buffer.from(other, 'base64url').subarray(4)[index],
    );
    // Chance lets about one byte in 256 agree.
    expect(shared.length).toBeLessThan(10);
  });

  test('is good until its last second and expired from then on', () => {
    const text = sealPush(capability({ expiresSeconds: NOW_SECONDS }), ring);
    expect(openPush(text, ring, NOW_SECONDS - 1).ok).toBe(true);
    expect(openPush(text, ring, NOW_SECONDS)).toEqual({ ok: false, fault: 'expired' });
  });

  test('outlives a change of the minting key while the old key stays in the ring', () => {
    const text = sealPush(capability(), ring);
    const added = { id: 'NEWKEA', key: new Uint8Array(32).fill(7) };
    const later: KeyRing = { ...ring, keys: new Map([...ring.keys, [added.id, added]]), minting: added };
    expect(openPush(text, later, NOW_SECONDS).ok).toBe(true);
    expect(openPush(sealPush(capability(), later), later, NOW_SECONDS).ok).toBe(true);
  });
});

test('arbitrary text is refused and never throws', () => {
  const texts = fc.oneof(
    fc.string({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 160 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    // Under the known key id, so that the cipher is really asked.
    fc
      .uint8Array({ maxLength: 150 })
      .map((bytes) => Buffer.concat([Buffer.from('ABCDEA', 'base64url'), bytes]).toString('base64url')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(openPush(text, ring, NOW_SECONDS).ok).toBe(false);
    }),
  );
});
