/** Push URLs that are remembered: never longer than they are good. */
import { expect, test } from 'vitest';
import { type PushCapability, sealPush } from '../core/capability.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { mailboxIdOf, mailboxTagOf } from '../core/mailbox.ts';
import { revocationIdOf } from '../core/revocation.ts';
import { createTargets } from './push-targets.ts';

const NOW_SECONDS = 1_800_000_000;
const PEPPER = new Uint8Array(32).fill(9);
const MAILBOX = mailboxIdOf(new Uint8Array(32).fill(5));

function keysOf(fill: number): Pick<KeyRing, 'keys' | 'minting'> {
  const minting = { id: 'ABCDEA', key: new Uint8Array(32).fill(fill) };
  return { keys: new Map([[minting.id, minting]]), minting };
}

function capability(fields: Partial<PushCapability> = {}): PushCapability {
  return {
    id: Buffer.alloc(16, 3),
    mailbox: MAILBOX,
    expiresSeconds: 0,
    vapidKeyHash: undefined,
    ...fields,
  };
}

test('a push URL opens to the same whether it is remembered or not', () => {
  const ring: KeyRing = { ...keysOf(1), pepper: PEPPER };
  const open = createTargets(ring);
  const text = sealPush(capability({ vapidKeyHash: Buffer.alloc(32, 8) }), ring);
  const first = open(text, NOW_SECONDS);
  expect(first).toMatchObject({
    ok: true,
    value: { mailbox: MAILBOX, tag: mailboxTagOf(MAILBOX, PEPPER), revocationId: revocationIdOf(text) },
  });
  expect(open(text, NOW_SECONDS)).toEqual(first);
});

test('a push URL that was good before is refused from the moment it expires', () => {
  const ring: KeyRing = { ...keysOf(1), pepper: PEPPER };
  const open = createTargets(ring);
  const text = sealPush(capability({ expiresSeconds: NOW_SECONDS + 1 }), ring);
  expect(open(text, NOW_SECONDS).ok).toBe(true);
  expect(open(text, NOW_SECONDS + 1)).toEqual({ ok: false, fault: 'expired' });
});

test('a push URL that was good before is unknown once its key has another secret', () => {
  let current = keysOf(1);
  const ring: KeyRing = {
    get keys() {
      return current.keys;
    },
    get minting() {
      return current.minting;
    },
    pepper: PEPPER,
  };
  const open = createTargets(ring);
  const text = sealPush(capability(), ring);
  expect(open(text, NOW_SECONDS).ok).toBe(true);
  current = keysOf(2);
  expect(open(text, NOW_SECONDS)).toEqual({ ok: false, fault: 'unknown' });
});

test('more push URLs than are remembered open all the same', () => {
  const ring: KeyRing = { ...keysOf(1), pepper: PEPPER };
  const open = createTargets(ring);
  const texts = Array.from({ length: 9000 }, (_, index) => {
    const id = Buffer.alloc(16);
    id.writeUInt32BE(index);
    return sealPush(capability({ id }), ring);
  });
  for (const round of [1, 2]) {
    for (const text of texts) expect(open(text, NOW_SECONDS + round).ok).toBe(true);
  }
});
