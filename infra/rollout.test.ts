/**
 * The gate of a rollout at Hetzner: what it takes for good, and what a run of the whole program does with it, on an
 * engine that calls hooks and keeps what a run leaves for the next one.
 */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { makePinnedIdentity } from '../fleet/certificates.ts';
import { systemRandom } from '../system/random.ts';
import { type Run, runProgram, type State } from '../test/support/engine.ts';
import { computed } from '../test/support/mock-engine.ts';
import { filledStack } from '../test/support/stack-files.ts';
import { waitUntilGood } from './rollout.ts';

vi.setConfig({ testTimeout: 300_000 });

interface Answer {
  readonly status: number;
  readonly body?: string;
}

const READY: Answer = { status: 200 };
const WAITING: Answer = { status: 503, body: '{"reasons":["no_manifest"]}' };
const RECOVERING: Answer = { status: 503 };

/** Two machines; each answers /readyz as it is told, or not at all. */
const relays: { server: Server; host: string; answer: Answer | undefined; asked: number }[] = [];

beforeAll(async () => {
  const identity = await makePinnedIdentity({ wallMs: Date.now(), random: systemRandom }, 'new-machine');
  for (let index = 0; index < 2; index += 1) {
    const relay = { server: createServer(), host: '', answer: undefined as Answer | undefined, asked: 0 };
    relay.server = createServer(
      { cert: identity.certificatePem, key: identity.keyPem },
      (request, response) => {
        relay.asked += 1;
        if (relay.answer === undefined || request.url !== '/readyz') response.destroy();
        else response.writeHead(relay.answer.status).end(relay.answer.body);
      },
    );
    await new Promise<void>((resolve) => {
      relay.server.listen(0, '127.0.0.1', resolve);
    });
    relay.host = `127.0.0.1:${(relay.server.address() as AddressInfo).port}`;
    relays.push(relay);
  }
});

afterAll(() => {
  for (const { server } of relays) server.close();
});

beforeEach(() => {
  answer(READY, READY);
});

function answer(...answers: readonly (Answer | undefined)[]): void {
  for (const [index, relay] of relays.entries()) Object.assign(relay, { answer: answers[index], asked: 0 });
}

const hostOf = (index: number): string => relays[index]?.host ?? '';
const asked = (): number => relays.reduce((sum, relay) => sum + relay.asked, 0);

describe('a new relay', () => {
  test.each([
    ['that is ready', READY],
    ['that only waits for a manifest', WAITING],
    ['that waits for one with its site', { status: 503, body: '{"reasons":["not_in_manifest"]}' }],
  ])('%s is good', async (_, answered) => {
    answer(answered);
    await waitUntilGood(hostOf(0), 1000);
  });

  test.each([
    ['is alive but not ready', RECOVERING, /\/readyz answered 503/],
    ['says something else', { status: 503, body: '{"reasons":["no_certificate"]}' }, /answered 503/],
    ['breaks off', undefined, /socket hang up/],
  ])('that %s is not, and the operator is told what it said and what to do', async (_, answered, heard) => {
    answer(answered);
    const looked = waitUntilGood(hostOf(0), 100);
    await expect(looked).rejects.toThrow(heard);
    await expect(looked).rejects.toThrow(/Nothing was deleted.*rolloutTimeout/);
  });

  test('may take its time', async () => {
    answer(undefined);
    const looked = waitUntilGood(hostOf(0), 60_000);
    await vi.waitFor(() => expect(asked()).toBeGreaterThan(0), 10_000);
    answer(WAITING);
    await looked;
  });

  test('that nobody can connect to is not good', async () => {
    await expect(waitUntilGood('127.255.0.1:9', 100)).rejects.toThrow(/ECONNREFUSED/);
  });
});

function up(release: string, before?: State, more: object = {}): Promise<Run> {
  const config = filledStack('Pulumi.hetzner.yaml');
  return runProgram({
    config: {
      ...config,
      'archipelago:release': { ...(config['archipelago:release'] as object), sha256: release.repeat(64) },
      'archipelago:rolloutTimeout': 5,
      ...more,
    },
    computedOutputs: (name, count) => {
      const index = /-relay-(\d)$/.exec(name)?.[1];
      return {
        ...computed(name, count),
        ...(index === undefined ? {} : { ipv4Address: hostOf(Number(index)) }),
      };
    },
    ...(before === undefined ? {} : { before }),
  });
}

const relayPart = ({ created }: Run): readonly string[] =>
  created.filter((label) => /^(Server|LoadBalancerTarget) .*-relay-/.test(label));
const ALL = [0, 1].flatMap((index) => [
  `Server hetzner-relay-${index}`,
  `LoadBalancerTarget hetzner-relay-${index}`,
]);

describe('a rollout', () => {
  let first: Run;

  beforeAll(async () => {
    answer(WAITING, WAITING);
    first = await up('a');
  }, 300_000);

  test('of the first relays takes those that wait for a manifest, one after the other', () => {
    expect(first.said).toBe('');
    expect(first.code).toBe(0);
    expect(relayPart(first)).toEqual(ALL);
    for (const { name, type, hooks } of first.registered) {
      expect(hooks.length, name).toBe(type.endsWith(':Server') && name.includes('-relay-') ? 1 : 0);
    }
  });

  test('of another release replaces each, and old ones go when all new ones were seen', async () => {
    const second = await up('b', first.state);
    expect(second.code).toBe(0);
    expect(relayPart(second)).toEqual(ALL);
    // Two relays, their targets, and the nameserver. A new release is no reason to replace Redis.
    expect(second.deleted).toHaveLength(5);
    expect(second.created).not.toContain('Server hetzner-redis');
  });

  test('stops at the first that is not good: nothing after it is touched, nothing is deleted', async () => {
    answer(RECOVERING, READY);
    const second = await up('b', first.state);
    expect(second.code).not.toBe(0);
    expect(second.said).toMatch(/was not good within 5 s \(\/readyz answered 503\)/);
    expect(relayPart(second)).toEqual(['Server hetzner-relay-0']);
    expect(second.deleted).toEqual([]);
  });

  test('that is tried again without a change stops again, although there is nothing to create', async () => {
    answer(READY, undefined);
    const second = await up('b', first.state);
    expect(relayPart(second)).toEqual(ALL.slice(0, 3));
    const third = await up('b', second.state);
    expect(third.code).not.toBe(0);
    expect(relayPart(third)).toEqual([]);
    expect(third.deleted).toEqual([]);
    expect(third.said).toMatch(/was not good within 5 s/);

    answer(READY, READY);
    const fourth = await up('b', third.state);
    expect(fourth.code).toBe(0);
    expect(relayPart(fourth)).toEqual(['LoadBalancerTarget hetzner-relay-1']);
    expect(fourth.deleted.length).toBeGreaterThanOrEqual(4);
  });

  test('that failed is mended by the release before', async () => {
    answer(undefined, READY);
    const second = await up('b', first.state);
    answer(READY, READY);
    const back = await up('a', second.state);
    expect(back.code).toBe(0);
    expect(relayPart(back)).toContain('Server hetzner-relay-0');
  });

  test('looks at nobody in a preview, and where it was told not to', async () => {
    answer(undefined, undefined);
    const config = filledStack('Pulumi.hetzner.yaml');
    const preview = await runProgram({
      config,
      preview: true,
      before: first.state,
      computedOutputs: computed,
    });
    const blind = await up('b', first.state, { 'archipelago:rolloutTimeout': 0 });
    expect([preview.code, blind.code]).toEqual([0, 0]);
    expect(relayPart(blind)).toEqual(ALL);
    expect(asked()).toBe(0);
  });
});
