/**
 * How long a relay works on a push URL that is no good says nothing about why. What is compared is processor time, in
 * medians of many small batches that take turns, so that a busy machine slows all of them alike.
 */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { openPush, sealPush } from './core/capability.ts';
import type { KeyRing } from './core/key-ring.ts';
import { mailboxIdOf } from './core/mailbox.ts';

const NOW_SECONDS = 1_800_000_000;
const BATCHES = 41;
const BATCH = 150;
/** The kinds differ by a few percent; a check that ends early is several times as fast. */
const RATIO_MAX = 1.6;

function ring(): KeyRing {
  const key = { id: randomBytes(4).toString('base64url'), key: randomBytes(32) };
  return { keys: new Map([[key.id, key]]), minting: key, pepper: randomBytes(32) };
}

const ours = ring();
const capability = {
  id: randomBytes(16),
  mailbox: mailboxIdOf(randomBytes(32)),
  expiresSeconds: 0,
  vapidKeyHash: undefined,
};
const good = sealPush(capability, ours);
const altered = Buffer.from(good, 'base64url');
altered[30] = (altered[30] ?? 0) ^ 1;
const invented = Buffer.concat([Buffer.from(ours.minting.id, 'base64url'), randomBytes(altered.length - 4)]);
const kinds: Readonly<Record<string, string>> = {
  altered: altered.toString('base64url'),
  invented: invented.toString('base64url'),
  'of another fleet': sealPush(capability, ring()),
  expired: sealPush({ ...capability, expiresSeconds: 1 }, ours),
  'not base64url': `${good.slice(0, -1)}!`,
  'too short': 'x',
};

function batchUs(text: string): number {
  const before = process.cpuUsage();
  for (let count = 0; count < BATCH; count += 1) openPush(text, ours, NOW_SECONDS);
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

test('every kind of push URL that is no good costs the same work', () => {
  const times = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
  for (const text of Object.values(kinds)) {
    expect(openPush(text, ours, NOW_SECONDS).ok).toBe(false);
    batchUs(text);
  }
  for (let batch = 0; batch < BATCHES; batch += 1) {
    for (const [kind, text] of Object.entries(kinds)) times.get(kind)?.push(batchUs(text));
  }
  const medians = [...times].map(
    ([kind, measured]) => [kind, measured.toSorted((a, b) => a - b)[(BATCHES - 1) / 2] ?? 0] as const,
  );
  const slowest = Math.max(...medians.map(([, median]) => median));
  for (const [kind, median] of medians) expect(slowest / median, kind).toBeLessThan(RATIO_MAX);
});
