/**
 * A message that was acked at one site, and whose tombstone a second site has lost with the last writes of its Redis, is not
 * delivered there to a client that has forgotten it: the relay asks the others before it delivers. Three real relays, one of
 * them with a real Redis, and the real client.
 */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;
const SITES = ['aws', 'gcp', 'hetzner'];
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`an ack that a site does not know of${reason}`, () => {
  let sites: RelaySites;
  let redis: RedisServer;
  let plain: Redis;
  let transport: NodeTransport;
  let fleet: Fleet;
  let mailbox: Mailbox;
  let subscription: Subscription;

  beforeEach(async () => {
    redis = await startRedis();
    plain = new Redis({ host: redis.host, port: redis.port });
    plain.on('error', () => undefined);
    sites = await createRelaySites();
    for (const name of ['aws', 'gcp']) sites.start(name);
    sites.start('hetzner', { RELAY_STORE: 'redis', RELAY_REDIS: `${redis.host}:${redis.port}` });
    await Promise.all(SITES.map((name) => sites.untilStatus(name, 200)));
    transport = createNodeTransport({
      clock: webClock,
      ca: sites.identities.authorityPem,
      connectTimeoutMs: 2000,
      keepAlive: true,
      lookup: sites.lookup,
    });
    fleet = await discoverFleet(transport, `https://relay.test:${sites.ports.relay}`, 5000);
    mailbox = await createMailbox(webRandom);
    subscription = await createSubscription(mailbox, {
      transport,
      clock: webClock,
      siteOrigin: fleet.sites[0]?.origin ?? '',
      timeoutMs: 5000,
    });
  }, MINUTE_MS);

  afterEach(async () => {
    transport.close();
    plain.disconnect();
    await sites[Symbol.asyncDispose]();
    await redis.stop();
  });

  const send = async (text: string): Promise<void> => {
    const sender = createSender({ transport, clock: webClock, random: webRandom, fleet });
    await sender.send(subscription, new TextEncoder().encode(text), { ttlSeconds: 300 });
  };
  /** What a client that remembers nothing gets at this site until it was told that nothing more waits, and acks. */
  const receiveAt = async (site: string): Promise<readonly string[]> => {
    const stop = new AbortController();
    const texts: string[] = [];
    const receiver = createReceiver({
      transport,
      clock: webClock,
      random: webRandom,
      fleet: { ...fleet, sites: fleet.sites.filter(({ provider }) => provider === site) },
      mailboxes: [mailbox],
    });
    const receiving = (async () => {
      for await (const { content } of receiver.messages(stop.signal)) {
        texts.push(new TextDecoder().decode(content));
      }
    })();
    await eventually(`nothing more at ${site}`, () => (receiver.counts.empty > 0 ? true : undefined));
    // The loop acks a message when it asks for the next.
    await eventually(`acks at ${site}`, async () =>
      (await metric(site, 'relay_messages_total{event="acked"}')) >= texts.length ? true : undefined,
    );
    stop.abort();
    await receiving;
    return texts;
  };
  const metric = async (site: string, line: string): Promise<number> => {
    const found = (await sites.metrics(site)).split('\n').find((text) => text.startsWith(`${line} `));
    return Number(found?.split(' ').at(-1) ?? 'NaN');
  };
  const keys = async (...kinds: readonly string[]): Promise<readonly string[]> =>
    (await Promise.all(kinds.map((kind) => plain.keys(`${kind}:*`)))).flat();
  /** Remembers the Redis as it is; the function that is given takes back what was written to it since. */
  const snapshot = async (): Promise<() => Promise<void>> => {
    const kinds = ['m', 'i', 't', 'a', 'x', 'd'];
    const saved = await Promise.all(
      (await keys(...kinds)).map(async (key) => [key, await plain.dumpBuffer(key)] as const),
    );
    return async () => {
      const transaction = plain.multi().del(...(await keys(...kinds)));
      for (const [key, value] of saved) transaction.restore(key, 0, value);
      await transaction.exec();
    };
  };

  test('is asked for before a client that has forgotten gets what it acked', {
    timeout: MINUTE_MS,
  }, async () => {
    await send('one');
    await eventually('a copy at hetzner', async () => ((await keys('m')).length === 1 ? true : undefined));
    const takeBack = await snapshot();
    expect(await receiveAt('aws')).toEqual(['one']);
    await eventually('a tombstone at hetzner', async () =>
      (await keys('m')).length === 0 && (await keys('t')).length === 1 ? true : undefined,
    );
    await takeBack();
    expect([await keys('t'), (await keys('m')).length]).toEqual([[], 1]);
    expect(await receiveAt('hetzner')).toEqual([]);
    expect(await metric('hetzner', 'relay_buried_elsewhere_total{event="kept_back"}')).toBe(1);
    expect([(await keys('t')).length, await keys('m')]).toEqual([1, []]);
    // What waits there and nobody has acked comes.
    await send('two');
    await eventually('a copy of two', async () => ((await keys('m')).length === 1 ? true : undefined));
    expect(await receiveAt('hetzner')).toEqual(['two']);
  });
});
