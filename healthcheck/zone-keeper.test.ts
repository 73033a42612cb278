/**
 * The zone in force: a failover waits for no signature, signatures are replaced long before they end, and what must
 * not be served is not.
 */
import { createPrivateKey } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeZoneKeys } from '../fleet/zone-keys.ts';
import { decoded, replyTo } from '../test/support/dns-reply.ts';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { testManifest } from '../test/support/manifests.ts';
import { type Answer, answerWithAll } from './core/failover.ts';
import { encodeQuery, TYPE } from './dns/message.ts';
import { createZoneKeeper, type ZoneContent, type ZoneKeeper } from './zone-keeper.ts';

const DAY_MS = 86_400_000;
const SITES = ['aws', 'gcp', 'hetzner'];

let clock: FakeClock;
let resources: AsyncDisposableStack;
let told: string[];
let keeper: ZoneKeeper;
let zoneOf: (answer: Answer, ttlSeconds?: number) => ZoneContent;
let all: Answer;

beforeEach(() => {
  clock = createFakeClock();
  resources = new AsyncDisposableStack();
  told = [];
  const keys = makeZoneKeys('relay.example.com', SITES, clock.wallMs());
  const manifest = { ...testManifest(SITES, { ipv6: true }), zoneKeys: keys.zoneKeys };
  all = answerWithAll(manifest, 1);
  zoneOf = (answer, ttlSeconds = 6) => ({ manifest, answer, ttlSeconds });
  keeper = createZoneKeeper({
    site: 'aws',
    zoneKey: createPrivateKey(keys.keyPem.get('aws') ?? ''),
    clock,
    events: {
      zoneRefused: (why) => told.push(why),
      zoneSigned: (ds) => told.push(...ds),
      signaturesLeft: ({ recordsExpireSeconds }) =>
        told.push(`left ${Math.floor((recordsExpireSeconds * 1000 - clock.wallMs()) / DAY_MS)} days`),
    },
    resources,
    changed: () => undefined,
    transferChanged: undefined,
  });
});

afterEach(async () => resources.disposeAsync());

interface Asked {
  readonly addresses: readonly string[];
  /** When the signature over the answer began, milliseconds. */
  readonly signedMs: number;
  readonly ttlSeconds: number;
}

function ask(type: number, name = 'relay.example.com'): Asked {
  const query = encodeQuery(7, name, type, { payloadBytesMax: 1232, dnssecOk: true });
  const { answers } = decoded(replyTo(query, keeper.inForce()));
  const rrsig = answers.find((record) => record.type === 'other' && record.number === TYPE.RRSIG);
  const data = rrsig?.type === 'other' ? Buffer.from(rrsig.data) : Buffer.alloc(20);
  return {
    addresses: answers.flatMap((record) => ('address' in record ? [record.address] : [])).toSorted(),
    signedMs: (data.readUInt32BE(12) + 3600) * 1000,
    ttlSeconds: rrsig?.ttlSeconds ?? 0,
  };
}

function serial(): number {
  const { answers } = decoded(
    replyTo(encodeQuery(7, 'relay.example.com', TYPE.SOA), keeper.inForce(), { transport: 'tcp' }),
  );
  return answers.flatMap((record) => (record.type === 'SOA' ? [record.serial] : []))[0] ?? 0;
}

test('whatever an answer may become was signed before it is needed, and the SOA follows', async () => {
  const startMs = clock.wallMs();
  keeper.publish(zoneOf(all));
  await clock.advance(3_000_000);
  const before = serial();
  let generation = 1;
  for (const missing of [['aws'], ['gcp'], ['hetzner'], ['aws', 'gcp'], ['gcp', 'hetzner'], []]) {
    generation += 1;
    const targets = all.targets.filter((target) => !missing.some((site) => target.startsWith(`${site}/`)));
    const left = serial();
    keeper.publish(zoneOf({ ...all, generation, targets }));
    // Nothing has run since: the new addresses are there, under signatures from the start, and the old SOA.
    expect(ask(TYPE.A).addresses).toHaveLength(3 - missing.length);
    expect(ask(TYPE.A).signedMs).toBe(startMs);
    expect(ask(TYPE.AAAA).signedMs).toBe(startMs);
    expect(serial()).toBe(left);
    await clock.advance(1);
    expect(serial()).toBe(before + generation - 1);
  }
});

test('another TTL is the same signature', async () => {
  keeper.publish(zoneOf(all, 6));
  await clock.settle();
  const first = ask(TYPE.A);
  await clock.advance(DAY_MS / 2);
  keeper.publish(zoneOf(all, 9));
  expect(ask(TYPE.A)).toStrictEqual({ ...first, ttlSeconds: 9 });
});

test('signatures are replaced after three days, eleven before they would end', async () => {
  keeper.publish(zoneOf(all));
  await clock.settle();
  const first = ask(TYPE.A).signedMs;
  await clock.advance(2.9 * DAY_MS);
  expect(ask(TYPE.A).signedMs).toBe(first);
  for (let hour = 0; hour < 24 * 30; hour += 1) {
    await clock.advance(3_600_000);
    for (const type of [TYPE.A, TYPE.NS, TYPE.SOA, TYPE.NSEC]) {
      const ageMs = clock.wallMs() - ask(type).signedMs;
      expect(ageMs).toBeLessThanOrEqual(3 * DAY_MS + 3_600_000);
    }
  }
  const left = told.filter((line) => line.startsWith('left')).map((line) => Number(line.split(' ')[1]));
  expect(Math.min(...left)).toBeGreaterThanOrEqual(10);
}, 60_000);

test('a zone without addresses is refused, and the last one stays', async () => {
  keeper.publish(zoneOf(all));
  keeper.publish(zoneOf({ ...all, generation: 2, targets: [] }));
  await clock.advance(10);
  expect(ask(TYPE.A).addresses).toHaveLength(3);
  expect(told.filter((line) => line.includes('ZoneRefused')).length).toBeGreaterThan(0);
});

test('the DS is told once there is a zone', () => {
  keeper.publish(zoneOf(all));
  expect(told[0]).toMatch(/^relay\.example\.com\. IN DS \d+ 13 2 [0-9A-F]{64}$/);
});

test("a manifest without this site's key is refused, and the last zone stays", async () => {
  keeper.publish(zoneOf(all));
  const { zoneKeys } = makeZoneKeys('relay.example.com', SITES, clock.wallMs());
  const content = zoneOf({ ...all, generation: 2, targets: ['gcp/ipv4'] });
  keeper.publish({ ...content, manifest: { ...content.manifest, version: 8, zoneKeys } });
  await clock.settle();
  expect(ask(TYPE.A).addresses).toHaveLength(3);
  expect(told).toContainEqual(expect.stringContaining("does not list this nameserver's zone key"));
});
