/**
 * The budget of each network: what it lets through, what it does with the rest, and that its table stays fair.
 */
import { expect, test } from 'vitest';
import { createRateLimit, type RateLimit, type Verdict } from './rate-limit.ts';

const HOME = Uint8Array.of(192, 0, 2, 1);

function take(
  limit: RateLimit,
  count: number,
  nowMs: number,
  source: Uint8Array = HOME,
): Record<Verdict, number> {
  const seen = { send: 0, slip: 0, drop: 0 };
  for (let index = 0; index < count; index += 1) seen[limit.take(source, nowMs)] += 1;
  return seen;
}

const ipv6 = (seventh: number, last: number): Uint8Array =>
  Uint8Array.of(0x20, 1, 0x0d, 0xb8, 0, 0, seventh, 0, 0, 0, 0, 0, 0, 0, 0, last);

test('a budget a second, and of the rest every other one slips through without records', () => {
  const limit = createRateLimit({ responsesPerSecond: 100, seed: 1 });
  expect(take(limit, 300, 5000)).toStrictEqual({ send: 100, slip: 100, drop: 100 });
  expect(take(limit, 100, 5500)).toMatchObject({ send: 50 });
  expect(take(limit, 300, 60_000)).toMatchObject({ send: 100 });
});

test('a /24 shares one budget, and so does a /56; their neighbours have their own', () => {
  const limit = createRateLimit({ responsesPerSecond: 10, seed: 1 });
  take(limit, 10, 0);
  expect(take(limit, 1, 0, Uint8Array.of(192, 0, 2, 254))).toMatchObject({ send: 0 });
  expect(take(limit, 10, 0, Uint8Array.of(192, 0, 3, 1))).toMatchObject({ send: 10 });
  take(limit, 10, 0, ipv6(0, 1));
  expect(take(limit, 1, 0, ipv6(0, 2))).toMatchObject({ send: 0 });
  expect(take(limit, 10, 0, ipv6(1, 1))).toMatchObject({ send: 10 });
});

test('a network that is over its budget keeps its place however many others come', () => {
  const limit = createRateLimit({ responsesPerSecond: 10, seed: 7 });
  take(limit, 10, 1000);
  for (let index = 0; index < 200_000; index += 1) {
    limit.take(Uint8Array.of(10, index >> 16, (index >> 8) & 255, index & 255), 1000);
    limit.take(Uint8Array.of(index & 255, index >> 16, (index >> 8) & 255, 1), 1000);
  }
  expect(take(limit, 1, 1000)).toMatchObject({ send: 0 });
});
