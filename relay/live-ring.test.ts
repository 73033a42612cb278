/** Keys that come and go while push URLs stay good. */
import { expect, test } from 'vitest';
import { openPush, type PushCapability, sealPush } from './core/capability.ts';
import { parseKeyRing } from './core/key-ring.ts';
import { mailboxIdOf } from './core/mailbox.ts';
import { createLiveRing, type LiveRing } from './live-ring.ts';

const PEPPER = Buffer.alloc(32, 9).toString('base64url');

/** A secrets file with these keys, of which the last one mints. */
function secretsOf(names: readonly number[], pepper = PEPPER): string {
  const capabilityKeys = names.map((name, index) => ({
    id: Buffer.alloc(4, name).toString('base64url'),
    key: Buffer.alloc(32, name).toString('base64url'),
    mint: index === names.length - 1,
  }));
  return JSON.stringify({ capabilityKeys, pepper });
}

function liveRingOf(...names: readonly number[]): LiveRing {
  const first = parseKeyRing(secretsOf(names));
  if (!first.ok) throw new Error(first.fault.join());
  return createLiveRing(first.value);
}

const capability: PushCapability = {
  id: Buffer.alloc(16, 3),
  mailbox: mailboxIdOf(new Uint8Array(32)),
  expiresSeconds: 0,
  vapidKeyHash: undefined,
};

test('a rotation in its three steps refuses nobody for good', () => {
  const live = liveRingOf(1);
  const { ring } = live;
  const old = sealPush(capability, ring);
  const early = sealPush(capability, liveRingOf(1, 2).ring);
  expect(openPush(early, ring, 0)).toEqual({ ok: false, fault: 'key_unknown' });
  expect(live.replace(secretsOf([2, 1]))).toEqual({ ok: true, value: 2 });
  expect(openPush(early, ring, 0).ok).toBe(true);
  expect(sealPush(capability, ring)).toBe(old);
  live.replace(secretsOf([1, 2]));
  expect(sealPush(capability, ring)).toBe(early);
  expect(openPush(old, ring, 0).ok).toBe(true);
  live.replace(secretsOf([2]));
  expect(openPush(old, ring, 0)).toEqual({ ok: false, fault: 'key_unknown' });
});

test.each([
  ['cannot be read', undefined, 'expected a readable file'],
  ['are no JSON', '{', 'expected JSON'],
  ['have another pepper', secretsOf([2], Buffer.alloc(32).toString('base64url')), 'must stay as it is'],
])('secrets that %s leave everything as it was', (_, secrets, fault) => {
  const live = liveRingOf(1);
  const text = sealPush(capability, live.ring);
  const replaced = live.replace(secrets);
  expect(replaced.ok ? '' : replaced.fault.join()).toContain(fault);
  expect(sealPush(capability, live.ring)).toBe(text);
});
