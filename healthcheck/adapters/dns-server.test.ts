/**
 * The nameserver's real sockets: our own client, `dig`, and some people who do not behave.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../system/clock.ts';
import { seededRandom } from '../../system/random.ts';
import { ask, sendTcp, sendUdp } from '../../test/support/dns-client.ts';
import { eventually } from '../../test/support/eventually.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { outputOf, suiteWith } from '../../test/support/programs.ts';
import { answerWithAll } from '../core/failover.ts';
import { zoneFrom } from '../core/zone.ts';
import { compileZone } from '../dns/compile.ts';
import { createDoor } from '../dns/door.ts';
import { encodeQuery, parseResponse, type Rcode, TYPE } from '../dns/message.ts';
import { createTransfers } from '../dns/transfer.ts';
import { type DnsDiscard, type DnsServer, startDnsServer } from './dns-server.ts';
import { ListenError } from './listen.ts';

const DIG = 'dig';
const ADDRESS = '127.42.0.1';
const manifest = testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true });
const zone = compileZone(
  zoneFrom({ manifest, self: 'aws', answer: answerWithAll(manifest, 9), ttlSeconds: 6 }),
  undefined,
);

let server: DnsServer;
let discards: DnsDiscard[];
let rcodes: Rcode[];

async function start(port: number): Promise<DnsServer> {
  return startDnsServer({
    endpoint: { host: ADDRESS, port },
    door: createDoor({
      zone: () => zone,
      secrets: () => [new Uint8Array(16)],
      rateLimit: undefined,
      transfers: createTransfers({ keys: [], zone: () => undefined }),
      serverId: Buffer.from('aws'),
      firstTurn: 0.1,
    }),
    workers: undefined,
    replied: (rcode) => rcodes.push(rcode),
    discarded: (reason) => discards.push(reason),
    clock: systemClock,
  });
}

beforeEach(async () => {
  discards = [];
  rcodes = [];
  server = await start(0);
});
afterEach(async () => server.close());

const at = (): { address: string; port: number } => ({ address: ADDRESS, port: server.port });
const query = encodeQuery(7, 'relay.example.com', TYPE.A);

describe('UDP', () => {
  test('a query is answered and counted', async () => {
    expect(await ask(at(), 'relay.example.com', TYPE.A)).toMatchObject({ rcode: 0, authoritative: true });
    expect(await ask(at(), 'nobody.relay.example.com', TYPE.A)).toMatchObject({ rcode: 3 });
    expect(rcodes).toStrictEqual(['NOERROR', 'NXDOMAIN']);
  });

  test('a response and a scrap get no answer, and are counted', async () => {
    const response = Uint8Array.from(query);
    response[2] = 0x80;
    await Promise.all([sendUdp(at(), response, 1), sendUdp(at(), query.subarray(0, 5), 1)]);
    await eventually('both are counted', () => (discards.length === 2 ? true : undefined));
    expect(discards.toSorted()).toStrictEqual(['not_a_query', 'too_short']);
  });

  test('first addresses take turns, also for clients that ask for A and AAAA alternately', async () => {
    const firsts: string[] = [];
    for (let index = 0; index < 60; index += 1) {
      const [first] = (await ask(at(), 'relay.example.com', TYPE.A))?.answers ?? [];
      if (first?.type === 'A') firsts.push(first.address);
      await ask(at(), 'relay.example.com', TYPE.AAAA);
    }
    for (const address of ['192.0.2.1', '192.0.2.11', '192.0.2.21']) {
      const count = firsts.filter((first) => first === address).length;
      expect(count).toBeGreaterThanOrEqual(18);
      expect(count).toBeLessThanOrEqual(22);
    }
  });
});

test('after thousands of hostile packets on both protocols it still answers', async () => {
  const random = seededRandom(7);
  const hostile = (): Uint8Array => {
    const packet = Uint8Array.from(query);
    for (let left = 1 + Math.floor(random.fraction() * 8); left > 0; left -= 1) {
      packet[Math.floor(random.fraction() * packet.length)] = Math.floor(random.fraction() * 256);
    }
    return packet;
  };
  const socket = createSocket('udp4');
  for (let index = 0; index < 3000; index += 1) {
    const bytes = index % 2 === 0 ? hostile() : random.bytes(1 + (index % 600));
    await new Promise((resolve) => socket.send(bytes, server.port, ADDRESS, resolve));
  }
  socket.close();
  for (let index = 0; index < 30; index += 1) {
    const connection = connect(server.port, ADDRESS).on('error', () => undefined);
    const bytes = Buffer.concat([hostile(), random.bytes(200)]);
    await new Promise((resolve) => connection.end(bytes, () => resolve(undefined)));
    connection.destroy();
  }
  expect(await ask(at(), 'relay.example.com', TYPE.A)).toMatchObject({ rcode: 0 });
  expect(await sendTcp(at(), [query])).toHaveLength(1);
}, 60_000);

describe('TCP', () => {
  test('several queries on one connection are answered in their order', async () => {
    const queries = ['relay', 'aws.relay', 'nobody.relay'].map((name, id) =>
      encodeQuery(id, `${name}.example.com`, TYPE.A),
    );
    const replies = await sendTcp(at(), queries);
    expect(replies.map((bytes) => parseResponse(bytes))).toMatchObject([
      { id: 0, rcode: 0 },
      { id: 1, rcode: 0 },
      { id: 2, rcode: 3 },
    ]);
  });

  test('a query may arrive byte by byte', async () => {
    const socket = connect(server.port, ADDRESS).setNoDelay(true);
    const replied = new Promise<Buffer>((resolve, reject) =>
      socket.once('data', resolve).once('error', reject),
    );
    for (const byte of [0, query.length, ...query]) {
      await new Promise((resolve) => socket.write(Uint8Array.of(byte), resolve));
    }
    expect(parseResponse((await replied).subarray(2))).toMatchObject({ id: 7, rcode: 0 });
    socket.destroy();
  });

  test.each([
    ['a frame that is too long', Buffer.of(0xff, 0xff), 'tcp_frame_too_long'],
    ['a scrap', Buffer.of(0, 3, 1, 2, 3), 'too_short'],
  ])('%s ends the connection', async (_, bytes, reason) => {
    const socket = connect(server.port, ADDRESS);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket
      .on('error', () => undefined)
      .resume()
      .write(bytes);
    await closed;
    expect(discards).toStrictEqual([reason]);
  });

  test('a connection has a limit of queries', async () => {
    const replies = await sendTcp(
      at(),
      Array.from({ length: 1001 }, () => query),
    ).catch(() => []);
    expect(replies.length).toBeLessThanOrEqual(1000);
    expect(discards).toStrictEqual(['tcp_query_limit']);
  });

  test('a client that does not read gets no further replies, and the others theirs', async () => {
    const greedy = connect(server.port, ADDRESS).pause();
    greedy.on('error', () => undefined);
    const framed = Buffer.concat([Buffer.of(0, query.length), query]);
    greedy.write(Buffer.concat(Array.from({ length: 900 }, () => framed)));
    expect(await sendTcp(at(), [query])).toHaveLength(1);
    greedy.destroy();
  });

  test('when all connections are taken, the quietest makes room', async () => {
    const sockets = Array.from({ length: 256 }, (_, index) =>
      connect({ host: ADDRESS, port: server.port, localAddress: `127.43.${index % 8}.1` }),
    );
    const closed: number[] = [];
    sockets.forEach((socket, index) => {
      socket
        .on('error', () => undefined)
        .resume()
        .once('close', () => closed.push(index));
    });
    await Promise.all(
      sockets.map(async (socket) => new Promise((resolve) => socket.once('connect', resolve))),
    );
    // The first connection says something, so the second is now the quietest.
    const spoken = new Promise((resolve) => sockets[0]?.once('data', resolve));
    sockets[0]?.write(Buffer.concat([Buffer.of(0, query.length), query]));
    await spoken;
    expect(await sendTcp(at(), [query])).toHaveLength(1);
    await eventually('one connection has been closed', () => (closed.length > 0 ? true : undefined));
    expect(closed).toHaveLength(1);
    expect(closed[0]).not.toBe(0);
    expect(discards).toStrictEqual(['tcp_evicted']);
    for (const socket of sockets) socket.destroy();
  });
});

const from = (localAddress: string): Socket =>
  connect({ host: ADDRESS, port: server.port, localAddress }).on('error', () => undefined);

test('one network of sources has a limit of connections, and the others theirs', async () => {
  const sockets = Array.from({ length: 64 }, (_, index) => from(`127.43.9.${index + 1}`));
  await Promise.all(sockets.map(async (socket) => new Promise((resolve) => socket.once('connect', resolve))));
  const refused = from('127.43.9.200').resume();
  await new Promise((resolve) => refused.once('close', resolve));
  expect(discards).toStrictEqual(['tcp_source_limit']);
  expect(await sendTcp(at(), [query])).toHaveLength(1);
  for (const socket of sockets) socket.destroy();
});

test('a port that is taken is told in one sentence', async () => {
  await expect(start(server.port)).rejects.toThrow(ListenError);
  await expect(start(server.port)).rejects.toThrow(
    `cannot listen for DNS over TCP at ${ADDRESS}:${server.port}: another program already uses it`,
  );
});

test('a closed server has left its port', async () => {
  const { port } = server;
  await server.close();
  server = await start(port);
  expect(server.port).toBe(port);
});

const hasDig = ((): boolean => {
  try {
    execFileSync(DIG, ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();
const mustRun = process.env['CI_NO_SKIP'] === '1';
const digTitle = hasDig || mustRun ? 'dig' : 'dig (skipped: no dig on this machine)';

async function dig(...options: string[]): Promise<string> {
  const base = [`@${ADDRESS}`, '-p', String(server.port), '+tries=1', '+time=5', '+norecurse'];
  return (await promisify(execFile)(DIG, [...base, ...options])).stdout;
}

describe.skipIf(!hasDig && !mustRun)(digTitle, () => {
  test.each([['+notcp'], ['+tcp']])('reads our answers (%s)', async (transport) => {
    const short = await dig(transport, '+short', 'relay.example.com', 'A');
    expect(short.trim().split('\n').toSorted()).toStrictEqual(['192.0.2.1', '192.0.2.11', '192.0.2.21']);
    const full = await dig(transport, 'relay.example.com', 'NS');
    expect(full).toContain('status: NOERROR');
    expect(full).toContain('flags: qr aa;');
    // Additional records are only for those who cannot be forged.
    const glue = transport === '+tcp' ? expect(full) : expect(full).not;
    glue.toMatch(/ns-gcp\.relay\.example\.com\.\s+3600\s+IN\s+A\s+198\.51\.100\.2/);
    expect(full).toContain('EDNS: version: 0');
    expect(full).not.toMatch(/warning|malformed|extra/i);
  });

  test('reads our negative answers and the SOA in them', async () => {
    const full = await dig('nobody.relay.example.com', 'AAAA');
    expect(full).toContain('status: NXDOMAIN');
    expect(full).toMatch(
      /relay\.example\.com\.\s+5\s+IN\s+SOA\s+ns-aws\.relay\.example\.com\. hostmaster\.relay\.example\.com\. 458761 3600 600 604800 5/,
    );
  });

  test('is told of another EDNS version, and refused elsewhere', async () => {
    expect(await dig('+edns=1', '+noednsneg', 'relay.example.com')).toContain('status: BADVERS');
    expect(await dig('example.com')).toContain('status: REFUSED');
  });

  test('keeps the case it asked in', async () => {
    expect(await dig('+noall', '+answer', 'AwS.ReLaY.eXaMpLe.CoM', 'A')).toMatch(
      /^AwS\.ReLaY\.eXaMpLe\.CoM\.\s+300/,
    );
  });
});

const withKdig = suiteWith('kdig', ['kdig']);
describe.skipIf(withKdig.skipped)(withKdig.title, () => {
  test('sees our cookie as good, our NSID, and many queries answered on one connection', async () => {
    const base = [`@${ADDRESS}`, '-p', String(server.port), '+norec'];
    const said = await outputOf('kdig', [...base, '+nsid', '+cookie', 'relay.example.com', 'A']);
    expect(said).toContain('status: NOERROR');
    expect(said).toMatch(/NSID: \S+ "aws"/);
    expect(said).toMatch(/COOKIE: [0-9A-F]{48}/i);
    const both = await outputOf('kdig', [
      ...base,
      '+tcp',
      '+keepopen',
      'relay.example.com',
      'A',
      'gcp.relay.example.com',
      'A',
    ]);
    expect(both.match(/status: NOERROR/g)).toHaveLength(2);
  });
});
