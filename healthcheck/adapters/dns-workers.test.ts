/**
 * Threads that answer over UDP in batches, on real sockets, beside the one socket that stands in for them.
 */
import { createSocket } from 'node:dgram';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../system/clock.ts';
import { seededRandom } from '../../system/random.ts';
import { ask, sendTcp, sendUdp } from '../../test/support/dns-client.ts';
import { eventually } from '../../test/support/eventually.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { answerWithAll } from '../core/failover.ts';
import { zoneFrom } from '../core/zone.ts';
import { type CompiledZone, compileZone } from '../dns/compile.ts';
import { createDoor } from '../dns/door.ts';
import { encodeQuery, type Rcode, TYPE } from '../dns/message.ts';
import { rateLimitMemory } from '../dns/rate-limit.ts';
import { createTransfers } from '../dns/transfer.ts';
import { canBatch, closeDatagrams, openDatagrams } from './datagrams.ts';
import { type DnsDiscard, type DnsServer, startDnsServer } from './dns-server.ts';
import { createDnsWorkers, type DnsWorkers } from './dns-workers.ts';
import { ListenError } from './listen.ts';

const mustRun = process.env['CI_NO_SKIP'] === '1';
const title = canBatch() || mustRun ? 'threads' : 'threads (skipped: no recvmmsg through node:ffi here)';
const manifest = testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true });
const NAME = 'relay.example.com';

function zoneOf(sites: readonly string[]): CompiledZone {
  const all = answerWithAll(manifest, 9);
  const targets = all.targets.filter((target) => sites.some((site) => target.startsWith(`${site}/`)));
  return compileZone(
    zoneFrom({ manifest, self: 'aws', answer: { ...all, targets }, ttlSeconds: 6 }),
    undefined,
  );
}

interface Started {
  readonly server: DnsServer;
  readonly workers: DnsWorkers;
  readonly ended: string[];
  answered(rcode: Rcode): number;
  dropped(reason: DnsDiscard): number;
}

async function start(
  host: string,
  threads: number,
  {
    responsesPerSecond,
    port = 0,
    silenceMsMax = 60_000,
  }: { responsesPerSecond?: number; port?: number; silenceMsMax?: number } = {},
): Promise<Started> {
  const rcodes = new Map<Rcode, number>();
  const discards = new Map<DnsDiscard, number>();
  const ended: string[] = [];
  const secrets = [new Uint8Array(16).fill(7)];
  const replied = (rcode: Rcode, count: number): void =>
    void rcodes.set(rcode, (rcodes.get(rcode) ?? 0) + count);
  const discarded = (reason: DnsDiscard, count: number): void =>
    void discards.set(reason, (discards.get(reason) ?? 0) + count);
  const workers = createDnsWorkers({
    threads,
    secrets,
    rateLimit:
      responsesPerSecond === undefined
        ? undefined
        : { responsesPerSecond, seed: 1, memory: rateLimitMemory() },
    transferKeys: [],
    serverId: Uint8Array.from(Buffer.from('aws')),
    silenceMsMax,
    firstTurn: () => 0.1,
    clock: systemClock,
    replied,
    discarded,
    ended: (why) => ended.push(why),
  });
  const server = await startDnsServer({
    endpoint: { host, port },
    door: createDoor({
      zone: () => undefined,
      secrets: () => secrets,
      rateLimit: undefined,
      transfers: createTransfers({ keys: [], zone: () => undefined }),
      serverId: Uint8Array.from(Buffer.from('aws')),
      firstTurn: 0.1,
    }),
    workers,
    replied,
    discarded,
    clock: systemClock,
  });
  return {
    server,
    workers,
    ended,
    answered: (rcode) => rcodes.get(rcode) ?? 0,
    dropped: (reason) => discards.get(reason) ?? 0,
  };
}

/** Replies to `queries` from as many sources, so that the kernel spreads them over all threads. */
async function askManyTimes(
  address: string,
  port: number,
  queries: number,
): Promise<readonly (Uint8Array | undefined)[]> {
  const at = { address, port };
  return Promise.all(
    Array.from({ length: queries }, async (_, index) => sendUdp(at, encodeQuery(index, NAME, TYPE.A), 5000)),
  );
}

describe.skipIf(!canBatch() && !mustRun)(title, () => {
  describe.each(['127.43.0.1', '::1'])('at %s', (host) => {
    let started: Started;
    beforeEach(async () => {
      started = await start(host, 3);
    });
    afterEach(async () => started.server.close());
    const at = (): { address: string; port: number } => ({ address: host, port: started.server.port });

    test('before there is a zone they say so; every one of them serves each new zone, and what they did is counted', async () => {
      expect(await ask(at(), NAME, TYPE.A)).toMatchObject({ rcode: 2 });
      for (const sites of [
        ['aws', 'gcp', 'hetzner'],
        ['gcp', 'hetzner'],
      ]) {
        started.workers.tell({ kind: 'zone', zone: zoneOf(sites) });
        await eventually('all threads serve the zone', async () => {
          const replies = await askManyTimes(host, started.server.port, 24);
          return replies.every((reply) => reply?.[7] === sites.length) || undefined;
        });
      }
      await eventually('counts come in', () => started.answered('NOERROR') >= 48 || undefined);
      expect(started.answered('SERVFAIL')).toBeGreaterThan(0);
    });

    test('responses and scraps get no answer, and are counted', async () => {
      const response = encodeQuery(1, NAME, TYPE.A);
      response[2] = 0x80;
      expect(await sendUdp(at(), response, 200)).toBeUndefined();
      expect(await sendUdp(at(), Uint8Array.of(1, 2, 3), 200)).toBeUndefined();
      await eventually(
        'both are counted',
        () => (started.dropped('not_a_query') === 1 && started.dropped('too_short') === 1) || undefined,
      );
    });

    test('after thousands of hostile packets they still answer', async () => {
      started.workers.tell({ kind: 'zone', zone: zoneOf(['aws']) });
      const random = seededRandom(11);
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      for (let index = 0; index < 4000; index += 1) {
        const bytes = encodeQuery(index, NAME, TYPE.A);
        for (let left = 1 + Math.floor(random.fraction() * 8); left > 0; left -= 1) {
          bytes[Math.floor(random.fraction() * bytes.length)] = Math.floor(random.fraction() * 256);
        }
        const packet = index % 2 === 0 ? bytes : random.bytes(1 + ((index * 7) % 4000));
        await new Promise((resolve) => socket.send(packet, started.server.port, host, resolve));
      }
      socket.close();
      const replies = await askManyTimes(host, started.server.port, 24);
      expect(replies.map((reply) => reply?.[7])).toStrictEqual(replies.map(() => 1));
      expect(started.ended).toStrictEqual([]);
    });
  });

  test('a client with a port in an IPv6 socket that takes both is IPv4 for its cookie and its budget', async () => {
    const started = await start('::', 2, { responsesPerSecond: 5 });
    started.workers.tell({ kind: 'zone', zone: zoneOf(['aws']) });
    const replies = await askManyTimes('127.0.0.1', started.server.port, 20);
    expect(replies.some((reply) => reply?.[7] === 1)).toBe(true);
    await started.server.close();
  });

  test('a network has one budget, however many threads there are', async () => {
    const started = await start('127.43.0.2', 4, { responsesPerSecond: 20 });
    started.workers.tell({ kind: 'zone', zone: zoneOf(['aws']) });
    await eventually(
      'the zone is served',
      async () =>
        (await ask({ address: '127.43.0.2', port: started.server.port }, NAME, TYPE.A))?.rcode === 0 ||
        undefined,
    );
    const beganMs = systemClock.monotonicMs();
    const sockets = Array.from({ length: 40 }, () => createSocket('udp4'));
    let answers = 0;
    for (const socket of sockets) {
      socket.on('message', (reply) => {
        if (reply[7] === 1) answers += 1;
      });
    }
    for (let index = 0; index < 800; index += 1) {
      const socket = sockets[index % sockets.length];
      await new Promise((resolve) =>
        socket?.send(encodeQuery(index, NAME, TYPE.A), started.server.port, '127.43.0.2', resolve),
      );
    }
    await eventually('the rest is dropped', () => started.dropped('over_budget') > 100 || undefined);
    const seconds = (systemClock.monotonicMs() - beganMs) / 1000;
    for (const socket of sockets) socket.close();
    // What two threads took at the same instant is the tolerance.
    expect(answers).toBeLessThan(20 * (1 + seconds) + 12);
    expect(answers).toBeGreaterThan(5);
    await started.server.close();
  });

  test('a thread that ends is replaced, and the next one serves what was told last', async () => {
    const started = await start('127.43.0.6', 2);
    const { port } = started.server;
    // A zone that could never be compiled: whoever looks a name up in it fails.
    started.workers.tell({ kind: 'zone', zone: JSON.parse('{"names": null}') as CompiledZone });
    await eventually('both threads have ended', async () => {
      await sendUdp({ address: '127.43.0.6', port }, encodeQuery(1, NAME, TYPE.A), 20);
      return started.ended.length > 1 || undefined;
    });
    started.workers.tell({ kind: 'zone', zone: zoneOf(['gcp']) });
    await eventually('others answer', async () => {
      const replies = await askManyTimes('127.43.0.6', port, 12);
      return replies.every((reply) => reply?.[7] === 1) || undefined;
    });
    await started.server.close();
  }, 30_000);

  test('a thread that hangs is ended and replaced as well', async () => {
    const started = await start('127.43.0.7', 1, { silenceMsMax: 2000 });
    const { port } = started.server;
    await eventually('it answers', async () =>
      sendUdp({ address: '127.43.0.7', port }, encodeQuery(0, NAME, TYPE.A), 300),
    );
    // A table without an end: whoever looks a name up in it does so for ever.
    const table = { slots: Int32Array.of(0), names: [Uint8Array.of(0)] };
    started.workers.tell({ kind: 'zone', zone: { ...zoneOf(['aws']), table } });
    await eventually('it no longer answers', async () => {
      const reply = await sendUdp({ address: '127.43.0.7', port }, encodeQuery(1, NAME, TYPE.A), 300);
      return reply === undefined || undefined;
    });
    started.workers.tell({ kind: 'zone', zone: zoneOf(['gcp']) });
    await eventually('another one answers', async () => {
      const reply = await sendUdp({ address: '127.43.0.7', port }, encodeQuery(2, NAME, TYPE.A), 300);
      return reply?.[7] === 1 || undefined;
    });
    expect(started.ended).toStrictEqual(['it hung']);
    await started.server.close();
  }, 60_000);

  test('TCP is served beside them, and a closed server has left both ports', async () => {
    const started = await start('127.43.0.3', 2);
    const { port } = started.server;
    const query = encodeQuery(7, NAME, TYPE.A);
    expect(await sendTcp({ address: '127.43.0.3', port }, [query])).toHaveLength(1);
    await started.server.close();
    const again = await start('127.43.0.3', 1, { port });
    expect(again.server.port).toBe(port);
    await again.server.close();
  });

  test('a port that is taken is told in one sentence', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) =>
      socket.bind({ port: 0, address: '127.43.0.4', exclusive: true }, resolve),
    );
    const { port } = socket.address();
    const attempt = start('127.43.0.4', 2, { port });
    await expect(attempt).rejects.toThrow(ListenError);
    await expect(attempt).rejects.toThrow('DNS over UDP');
    await expect(attempt).rejects.toThrow('another program already uses it');
    socket.close();
  });

  test('an address that this machine does not have is told', () => {
    expect(() => openDatagrams({ host: '192.0.2.1', port: 0 }, false)).toThrow('does not have that address');
    closeDatagrams(openDatagrams({ host: '127.43.0.5', port: 0 }, true));
  });
});
