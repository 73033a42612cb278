/** A resolver that kept answers too long would blame the failover layer, and one that kept them too short would praise it. */
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../system/clock.ts';
import {
  type AddressAnswer,
  createStubResolver,
  ResolutionFailed,
  type StubResolver,
} from './stub-resolver.ts';

function laboratory(answer: (nameserver: number) => AddressAnswer | Error): {
  readonly resolver: StubResolver;
  readonly asked: number[];
  readonly advance: (ms: number) => void;
} {
  let nowMs = 1000;
  const asked: number[] = [];
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    sleep: () => Promise.resolve(),
    after: () => () => undefined,
  };
  const resolver = createStubResolver({
    clock,
    nameservers: 3,
    first: 1,
    ask: async (nameserver) => {
      asked.push(nameserver);
      const given = answer(nameserver);
      if (given instanceof Error) throw given;
      return await Promise.resolve(given);
    },
  });
  return { resolver, asked, advance: (ms) => void (nowMs += ms) };
}

const both = { addresses: ['127.1.1.1', '127.1.1.2'], ttlSeconds: 5 };

describe('the stub resolver', () => {
  test('keeps an answer until the last millisecond of its TTL and not longer', async () => {
    const { resolver, asked, advance } = laboratory(() => both);
    await resolver.resolve('relay.test');
    advance(4999);
    await resolver.resolve('relay.test');
    expect(asked).toHaveLength(1);
    advance(1);
    await resolver.resolve('relay.test');
    expect(asked).toHaveLength(2);
  });

  test('keeps nothing when the TTL is 0', async () => {
    const { resolver, asked } = laboratory(() => ({ ...both, ttlSeconds: 0 }));
    await resolver.resolve('relay.test');
    await resolver.resolve('relay.test');
    expect(asked).toHaveLength(2);
  });

  test('gives the addresses in the order of the answer', async () => {
    const { resolver } = laboratory(() => both);
    expect(await resolver.resolve('relay.test')).toEqual(both.addresses);
  });

  test('asks the nameservers in turn, beginning with its own', async () => {
    const { resolver, asked, advance } = laboratory(() => both);
    for (let round = 0; round < 4; round += 1) {
      await resolver.resolve('relay.test');
      advance(5000);
    }
    expect(asked).toEqual([1, 2, 0, 1]);
  });

  test('asks the next nameserver when one is silent', async () => {
    const { resolver, asked } = laboratory((nameserver) => (nameserver === 1 ? new Error('silent') : both));
    expect(await resolver.resolve('relay.test')).toEqual(both.addresses);
    expect(asked).toEqual([1, 2]);
  });

  test('does not serve a stale answer when all nameservers are silent', async () => {
    let silent = false;
    const { resolver, advance } = laboratory(() => (silent ? new Error('silent') : both));
    await resolver.resolve('relay.test');
    silent = true;
    advance(5000);
    await expect(resolver.resolve('relay.test')).rejects.toBeInstanceOf(ResolutionFailed);
    silent = false;
    expect(await resolver.resolve('relay.test')).toEqual(both.addresses);
  });

  test('asks once for callers that come at the same time', async () => {
    const { resolver, asked } = laboratory(() => both);
    await Promise.all([resolver.resolve('relay.test'), resolver.resolve('relay.test')]);
    expect(asked).toHaveLength(1);
  });
});
