/**
 * Three relays, one of them with a real Redis to which things happen: no sender waits longer than the deadline, no 201
 * is wrong, the site stops wanting clients, and all is well again without a restart of the relay.
 */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { siteOrigin } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

describe.skipIf(redisMissing !== undefined)(`a relay whose Redis fails${reason}`, () => {
  let sites: RelaySites;
  let redis: RedisServer;
  let plain: Redis;
  let transport: NodeTransport;
  let subscription: Subscription;

  beforeEach(async () => {
    redis = await startRedis();
    plain = new Redis({ host: redis.host, port: redis.port });
    plain.on('error', () => undefined);
    sites = await createRelaySites();
    transport = createNodeTransport({
      clock: systemClock,
      ca: sites.identities.authorityPem,
      lookup: async (hostname) => {
        const layout = sites.layouts.find(({ name }) => hostname.startsWith(`${name}.`)) ?? sites.layouts[0];
        return layout === undefined ? [] : [layout.relayAddress];
      },
      connectTimeoutMs: 2000,
      keepAlive: false,
    });
    sites.start('aws', { RELAY_STORE: 'redis', RELAY_REDIS: `${redis.host}:${redis.port}` });
    for (const name of ['gcp', 'hetzner']) sites.start(name);
    await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
    subscription = await createSubscription(await createMailbox(systemRandom), {
      transport,
      clock: systemClock,
      siteOrigin: siteOrigin(sites.identities.manifest, 'aws'),
      timeoutMs: 5000,
    });
  }, MINUTE_MS);
  afterEach(async () => {
    transport.close();
    plain.disconnect();
    await sites[Symbol.asyncDispose]();
    await redis.stop();
  });

  /** Posts to the site whose Redis it is; gives the status. */
  const post = async (text: string): Promise<number> => {
    const { pathname } = new URL(subscription.endpoint);
    const answer = await transport.request(
      {
        origin: siteOrigin(sites.identities.manifest, 'aws'),
        method: 'POST',
        path: pathname,
        headers: { TTL: '600', 'Content-Encoding': 'aes128gcm' },
        body: ciphertext(text),
      },
      { timeoutMs: 5000 },
    );
    return answer.status;
  };
  const metric = async (line: string): Promise<number> => {
    const found = (await sites.metrics('aws')).split('\n').find((text) => text.startsWith(`${line} `));
    return Number(found?.split(' ').at(-1) ?? 'NaN');
  };
  /** A busy machine may pass the deadline; a sender repeats what was answered 503. */
  const postUntilAccepted = (text: string): Promise<true> =>
    eventually(`${text} is accepted`, async () => ((await post(text)) === 201 ? true : undefined));
  /** Messages that the Redis holds. */
  const stored = async (): Promise<number> => {
    let count = 0;
    for (const key of await plain.keys('m:*')) count += await plain.hlen(key);
    return count;
  };

  test.each<[string, () => unknown, () => unknown]>([
    ['is silent', () => redis.pause(), () => redis.resume()],
    ['only reads', () => plain.replicaof('127.0.0.1', '1'), () => plain.replicaof('NO', 'ONE')],
    ['is gone', () => redis.kill(), () => redis.start()],
  ])('that %s', { timeout: MINUTE_MS }, async (_, fail, heal) => {
    await postUntilAccepted('before');
    await fail();
    await sites.untilStatus('aws', 503);
    // Two other providers hold it.
    await postUntilAccepted('meanwhile');
    await sites.kill('hetzner');
    // One other provider is not enough; a second failure is answered, and not with a 201.
    expect(await post('alone')).toBe(503);
    sites.start('hetzner');
    await heal();
    await sites.untilStatus('aws', 200);
    await eventually('all are stored here', async () => ((await stored()) >= 2 ? true : undefined));
    await postUntilAccepted('after');
  });

  test('that is emptied under it is refilled, and the site wants no clients meanwhile', {
    timeout: MINUTE_MS,
  }, async () => {
    for (const text of ['one', 'two', 'three']) await postUntilAccepted(text);
    const before = await metric('relay_recoveries_total{cause="no_memory"}');
    await eventually('all have it', async () => ((await stored()) === 3 ? true : undefined));
    await plain.flushall();
    await eventually('noticed', async () =>
      (await metric('relay_recoveries_total{cause="no_memory"}')) === before + 1 ? true : undefined,
    );
    await eventually('refilled', async () => ((await stored()) === 3 ? true : undefined));
    await sites.untilStatus('aws', 200);
    expect(await metric('relay_restored_seconds_count')).toBe(before + 1);
    expect(await metric('relay_recovering_seconds')).toBe(0);
  });
});
