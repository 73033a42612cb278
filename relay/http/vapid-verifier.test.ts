/** What is remembered of senders that were believed, and what is checked all the same. */
import { expect, test } from 'vitest';
import { createManualClock, type ManualClock } from '../../test/support/manual-clock.ts';
import { createVapidSender } from '../../test/support/vapid-sender.ts';
import { isSigned, vapidKeyHashOf } from '../core/vapid.ts';
import { createVapidVerifier, type VapidVerifier } from './vapid-verifier.ts';

const aud = 'https://relay.test';

interface SetUp {
  readonly verify: VapidVerifier;
  readonly clock: ManualClock;
  /** One entry for each signature that was verified. */
  readonly verified: number[];
}

function setUp(tokensMax: number): SetUp {
  const clock = createManualClock();
  const verified: number[] = [];
  const verify = createVapidVerifier({ audiences: [aud], tokensMax }, clock, (claim) => {
    verified.push(1);
    return isSigned(claim);
  });
  return { verify, clock, verified };
}

test('a token is verified once and believed until it expires', () => {
  const { verify, clock, verified } = setUp(10);
  const sender = createVapidSender();
  const keyHash = vapidKeyHashOf(sender.publicKey);
  const header = sender.header({ aud, exp: clock.wallMs() / 1000 + 600 });
  for (const _ of [1, 2, 3]) expect(verify(header, keyHash)).toBeUndefined();
  expect(verified).toHaveLength(1);
  expect(verify(header, vapidKeyHashOf(createVapidSender().publicKey))).toBe('vapid_key_wrong');
  clock.advance(700_000);
  expect(verify(header, keyHash)).toBe('vapid_expired');
});

test('what was not believed is verified again, and nothing is kept of it', () => {
  const { verify, clock, verified } = setUp(10);
  const sender = createVapidSender();
  const stolen = createVapidSender().token({ aud, exp: clock.wallMs() / 1000 + 600 });
  const header = `vapid t=${stolen}, k=${sender.publicKey.toString('base64url')}`;
  for (const _ of [1, 2])
    expect(verify(header, vapidKeyHashOf(sender.publicKey))).toBe('vapid_signature_wrong');
  expect(verified).toHaveLength(2);
});

test('a token that was believed of one sender is nothing to another, whose key is put beside it', () => {
  const { verify, clock } = setUp(10);
  const [sender, other] = [createVapidSender(), createVapidSender()];
  const token = sender.token({ aud, exp: clock.wallMs() / 1000 + 600 });
  const header = (key: Buffer): string => `vapid t=${token}, k=${key.toString('base64url')}`;
  expect(verify(header(sender.publicKey), vapidKeyHashOf(sender.publicKey))).toBeUndefined();
  expect(verify(header(other.publicKey), vapidKeyHashOf(other.publicKey))).toBe('vapid_signature_wrong');
});

test('the memory has an end: the oldest token is verified again', () => {
  const { verify, clock, verified } = setUp(2);
  const sender = createVapidSender();
  const keyHash = vapidKeyHashOf(sender.publicKey);
  const headers = [1, 2, 3].map((n) => sender.header({ aud, exp: clock.wallMs() / 1000 + n * 600 }));
  for (const header of headers) expect(verify(header, keyHash)).toBeUndefined();
  expect(verify(headers[2], keyHash)).toBeUndefined();
  expect(verified).toHaveLength(3);
  expect(verify(headers[0], keyHash)).toBeUndefined();
  expect(verified).toHaveLength(4);
});
