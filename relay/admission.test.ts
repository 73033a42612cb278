/** Who is let in, by room, by rate and by address. */
import { expect, test } from 'vitest';
import { seededRandom } from '../system/random.ts';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { type Admission, createAdmission } from './admission.ts';

const clock = createFakeClock();
const { tag } = createTestMailbox();
const other = createTestMailbox().tag;

function admission(requestsMax = 10): Admission {
  return createAdmission({
    requestsMax,
    capabilityPerSecond: 2,
    mailboxPerSecond: 4,
    mintsPerSecond: 2,
    asksPerSecond: 2,
    clock,
    random: seededRandom(1),
  });
}

test('a place is given back once, however often that is said', () => {
  const at = admission(1);
  const leave = at.enter('high', undefined);
  expect(at.enter('high', undefined)).toBeUndefined();
  leave?.();
  leave?.();
  expect(at.load().underWay).toBe(0);
  expect(at.enter('high', undefined)).toBeDefined();
});

test('as it fills, urgent messages still come in, and all do again when it has emptied', () => {
  const at = admission(10);
  const leaves: ((() => void) | undefined)[] = [];
  const fill = (urgency: string): number => {
    let count = 0;
    for (
      let leave = at.enter(urgency, undefined);
      leave !== undefined;
      leave = at.enter(urgency, undefined)
    ) {
      leaves.push(leave);
      count += 1;
    }
    return count;
  };
  expect([fill('very-low'), fill('low'), fill('nonsense'), fill('high')]).toEqual([5, 2, 2, 1]);
  for (const leave of leaves) leave?.();
  expect(at.enter('very-low', undefined)).toBeDefined();
});

test('the urgency may be in capitals, as RFC 5234 §2.3 has it', () => {
  const at = admission(2);
  expect(at.enter('Very-Low', undefined)).toBeDefined();
  expect(at.enter('Very-Low', undefined)).toBeUndefined();
  expect(at.enter('HIGH', undefined)).toBeDefined();
});

test('while it is crowded an address has a rate, and before that it has none', () => {
  const at = admission(10_000);
  const enter = (address: string): boolean => at.enter('high', address) !== undefined;
  for (let request = 0; request < 5000; request += 1) expect(enter('192.0.2.1')).toBe(true);
  for (let request = 0; request < 200; request += 1) expect(enter('192.0.2.1')).toBe(true);
  expect(enter('192.0.2.1')).toBe(false);
  expect(enter('192.0.2.2')).toBe(true);
});

test('a push URL and a mailbox have rates of their own, and get them back with time', async () => {
  const at = admission();
  const spend = (capability: number, mailbox = tag): string | undefined =>
    at.spend(`push URL ${capability}`, mailbox);
  for (let time = 0; time < 8; time += 1) expect(spend(1)).toBeUndefined();
  expect(spend(1)).toBe('capability_too_fast');
  for (let time = 0; time < 8; time += 1) expect(spend(2)).toBeUndefined();
  expect(spend(3)).toBe('mailbox_too_fast');
  expect(spend(4, other)).toBeUndefined();
  await clock.advance(1000);
  expect(spend(1)).toBeUndefined();
});

test('a late event loop sheds what can wait, and recovers by itself', async () => {
  const at = admission();
  const stopping = new AbortController();
  let lateMs = 0;
  const late = createAdmission({
    requestsMax: 10,
    capabilityPerSecond: 1,
    mailboxPerSecond: 1,
    mintsPerSecond: 1,
    asksPerSecond: 1,
    random: seededRandom(1),
    clock: { ...clock, sleep: (ms, signal) => clock.sleep(ms + lateMs, signal) },
  });
  const running = late.run(stopping.signal);
  lateMs = 500;
  await clock.advance(6000);
  expect(late.enter('normal', undefined)).toBeUndefined();
  expect(late.enter('high', undefined)).toBeDefined();
  expect(late.isBusy()).toBe(true);
  lateMs = 0;
  await clock.advance(2000);
  expect(late.isBusy()).toBe(false);
  expect(late.enter('very-low', undefined)).toBeDefined();
  expect(at.load().lagMs).toBe(0);
  stopping.abort(new Error('done'));
  await running;
});

function taken(take: () => boolean): number {
  return Array.from({ length: 20 }, take).filter(Boolean).length;
}

test('an operator token and a mailbox have a rate of their own', async () => {
  const at = admission();
  expect(taken(() => at.mayMint('one'))).toBe(8);
  expect(taken(() => at.mayMint('other'))).toBe(8);
  expect(taken(() => at.mayReceive(tag))).toBe(8);
  expect(at.mayReceive(other)).toBe(true);
  await clock.advance(1000);
  expect(taken(() => at.mayMint('one'))).toBe(2);
  expect(taken(() => at.mayReceive(tag))).toBe(2);
});
