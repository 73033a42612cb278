/**
 * Probes against real servers that are well, unwell, slow, gone, or somebody else.
 */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer, get, type Server, type ServerOptions } from 'node:https';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type Authority,
  issueServerCertificate,
  makeAuthority,
  makePinnedIdentity,
} from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import type { ProbeOutcome } from '../core/observation.ts';
import { probe, probeTrust } from './https-probe.ts';

const ZONE = 'relay.example.com';
const ADDRESS = '127.43.0.1';
const context = { wallMs: Date.now(), random: systemRandom };
let authority: Authority;
let trust: ReturnType<typeof probeTrust>;
let good: ServerOptions;
const servers: TcpServer[] = [];

beforeAll(async () => {
  authority = await makeAuthority(context);
  trust = probeTrust(authority.certificatePem);
  good = await tlsOptions(ZONE);
});

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    if ('closeAllConnections' in server) (server as Server).closeAllConnections();
  }
});

async function tlsOptions(name: string): Promise<ServerOptions> {
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, [name]);
  return { cert: certificatePem, key: keyPem };
}

async function listening(server: TcpServer): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, ADDRESS, resolve));
  return (server.address() as AddressInfo).port;
}

async function outcomeAt(port: number, timeoutMs = 5000, strained = nothing): Promise<ProbeOutcome> {
  const lateMs = timeoutMs + 2000;
  const whom = { address: ADDRESS, port, serverName: ZONE, trust };
  return probe({ ...whom, timeoutMs, lateMs, strained, clock: systemClock });
}

function nothing(): void {
  // Whether a site is strained is asked in a test of its own.
}

async function outcomeOf(
  options: ServerOptions,
  respond: RequestListener,
  timeoutMs?: number,
): Promise<ProbeOutcome> {
  return outcomeAt(await listening(createServer(options, respond)), timeoutMs);
}

const FULL_SIZE = '.'.repeat(4096);
const ready: RequestListener = (_, response) => response.writeHead(200).end(FULL_SIZE);

describe('a site that answers', () => {
  test('200 is ready, and the request is the one that was promised', async () => {
    const seen: { path: string; host: string; bytes: number; sni: unknown }[] = [];
    const outcome = await outcomeOf(good, (incoming, response) => {
      const { host = '' } = incoming.headers;
      const sni = 'servername' in incoming.socket ? incoming.socket.servername : undefined;
      seen.push({ path: incoming.url ?? '', host, bytes: incoming.socket.bytesRead, sni });
      response.writeHead(200).end(FULL_SIZE);
    });
    expect(outcome).toBe('ready');
    expect(seen).toMatchObject([{ path: '/readyz?bytes=4096', sni: ZONE }]);
    expect(seen[0]?.host).toMatch(/^relay\.example\.com:\d+$/);
    expect(seen[0]?.bytes).toBeGreaterThan(2 * 1500);
  });

  test.each([204, 301, 404, 500, 503])('%i is not ready', async (status) => {
    expect(await outcomeOf(good, (_, response) => response.writeHead(status).end())).toBe('not_ready');
  });

  test('200 and less than the whole body is malformed', async () => {
    expect(await outcomeOf(good, (_, response) => response.writeHead(200).end())).toBe('response_malformed');
    const cut: RequestListener = (_, response) => {
      response.writeHead(200, { 'content-length': '4096' });
      response.write('.'.repeat(100), () => response.destroy());
    };
    expect(await outcomeOf(good, cut)).toBe('response_malformed');
  });

  test('what is no HTTP is malformed', async () => {
    const server = createServer(good);
    server.on('secureConnection', (socket) => socket.end('220 mail.example.com ESMTP\r\n'));
    expect(await outcomeAt(await listening(server))).toBe('response_malformed');
  });

  test('every probe opens a connection of its own', async () => {
    const server = createServer(good, ready);
    let connections = 0;
    server.on('secureConnection', () => (connections += 1));
    const port = await listening(server);
    expect([await outcomeAt(port), await outcomeAt(port), await outcomeAt(port)]).toStrictEqual(
      Array(3).fill('ready'),
    );
    expect(connections).toBe(3);
  });
});

describe('a certificate that clients would refuse', () => {
  test('another name', async () => {
    expect(await outcomeOf(await tlsOptions('other.example.com'), ready)).toBe('certificate_invalid');
  });

  test('another authority', async () => {
    const { certificatePem, keyPem } = await makePinnedIdentity(context, ZONE);
    expect(await outcomeOf({ cert: certificatePem, key: keyPem }, ready)).toBe('certificate_invalid');
  });

  test('expired', async () => {
    const past = { ...context, wallMs: Date.now() - 30 * 86_400_000 };
    const { certificatePem, keyPem } = await issueServerCertificate(past, authority, [ZONE]);
    expect(await outcomeOf({ cert: certificatePem, key: keyPem }, ready)).toBe('certificate_invalid');
  });
});

describe('a site that is not there', () => {
  test('a closed port refuses', async () => {
    const server = createTcpServer();
    const port = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await outcomeAt(port)).toBe('refused');
  });

  test('no TLS is a failure of TLS', async () => {
    const server = createTcpServer((socket) =>
      socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\n\r\n'),
    );
    expect(await outcomeAt(await listening(server))).toBe('tls_failed');
  });

  test('an old TLS is a failure of TLS', async () => {
    expect(await outcomeOf({ ...good, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }, ready)).toBe(
      'tls_failed',
    );
  });

  test.each([
    ['a connection without a handshake', async () => listening(createTcpServer())],
    ['a request without a response', async () => listening(createServer(good, () => undefined))],
  ])('%s times out', async (_, port) => {
    expect(await outcomeAt(await port(), 200)).toBe('timed_out');
  });
});

describe('trouble of our own', () => {
  test('a machine without file descriptors says nothing about the site', async () => {
    const script = `
      import { openSync } from 'node:fs';
      import { systemClock as clock } from '${new URL('../../system/clock.ts', import.meta.url).href}';
      import { probe, probeTrust } from '${new URL('./https-probe.ts', import.meta.url).href}';
      const trust = probeTrust(undefined);
      try { for (;;) openSync('/dev/null'); } catch {}
      const site = { address: '127.0.0.1', port: 443, serverName: 'relay.example.com' };
      process.stdout.write(await probe({ ...site, trust, timeoutMs: 5000, clock }));
    `;
    const shell = 'ulimit -n 128; exec "$0" --input-type=module -e "$1"';
    const { stdout } = await promisify(execFile)('sh', ['-c', shell, process.execPath, script]);
    expect(stdout).toBe('local_error');
  });

  test('a machine that stood still when the deadline passed says nothing either', async () => {
    const port = await listening(createTcpServer());
    let offsetMs = 0;
    const stalled = {
      ...systemClock,
      monotonicMs: () => systemClock.monotonicMs() + offsetMs,
      after: (ms: number, callback: () => void) =>
        systemClock.after(ms, () => {
          offsetMs = 1000;
          callback();
        }),
    };
    const times = { timeoutMs: 50, lateMs: 60, strained: nothing };
    const options = { address: ADDRESS, port, serverName: ZONE, trust, ...times };
    expect(await probe({ ...options, clock: stalled })).toBe('local_stall');
  });
});

describe('a path that loses large packets', () => {
  /** Forwards what comes in pieces below the size of the padding, and swallows everything from the first larger one. */
  async function lossyPath(port: number, lossy: 'request' | 'response'): Promise<number> {
    const proxy = createTcpServer((near) => {
      const far = connect(port, ADDRESS);
      const pass = (from: Socket, to: Socket, isLossy: boolean): void => {
        let isStuck = false;
        from.on('data', (chunk: Buffer) => {
          isStuck ||= isLossy && chunk.length > 3500;
          if (!isStuck) to.write(chunk);
        });
        from
          .on('error', () => undefined)
          .once('close', () => {
            // Behind lost data the end of a connection is not seen either.
            if (!isStuck) to.destroy();
          });
      };
      pass(near, far, lossy === 'request');
      pass(far, near, lossy === 'response');
    });
    return listening(proxy);
  }

  /** What a check would see that asks no more than it has to. */
  async function smallCheck(port: number): Promise<number | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
    const options = { host: ADDRESS, port, servername: ZONE, path: '/readyz', agent: false } as const;
    const asked = get({ ...options, rejectUnauthorized: false }, (response) => {
      resolve(response.statusCode);
      response.resume();
    });
    asked.on('error', reject);
    return promise;
  }

  test.each(['request', 'response'] as const)(
    'in the %s times out, though a small check passes it',
    async (lossy) => {
      const padded: RequestListener = (incoming, response) =>
        response.writeHead(200).end(incoming.url === '/readyz' ? '' : FULL_SIZE);
      const port = await lossyPath(await listening(createServer(good, padded)), lossy);
      expect(await smallCheck(port)).toBe(200);
      expect(await outcomeAt(port, 500)).toBe('timed_out');
    },
  );
});

describe('a site that is strained', () => {
  test('says so while it is ready', async () => {
    const signs: string[] = [];
    const port = await listening(
      createServer(good, (_, response) =>
        response.writeHead(200, { 'relay-load': 'crowded' }).end(FULL_SIZE),
      ),
    );
    expect(await outcomeAt(port, 5000, () => signs.push('crowded'))).toBe('ready');
    expect(signs).toStrictEqual(['crowded']);
    const quiet = await listening(createServer(good, ready));
    expect(await outcomeAt(quiet, 5000, () => signs.push('quiet'))).toBe('ready');
    expect(signs).toStrictEqual(['crowded']);
  });

  test('or answers after the deadline, which it failed; a refusal that is late is no such sign', async () => {
    const { promise: sign, resolve } = Promise.withResolvers<string>();
    const late =
      (status: number): RequestListener =>
      (_, response) =>
        void setTimeout(() => response.writeHead(status).end(FULL_SIZE), 600);
    const slow = await listening(createServer(good, late(200)));
    const refusing = await listening(createServer(good, late(503)));
    const outcomes = [
      outcomeAt(refusing, 300, () => resolve('refusing')),
      outcomeAt(slow, 300, () => resolve('slow')),
    ];
    expect(await Promise.all(outcomes)).toStrictEqual(['timed_out', 'timed_out']);
    expect(await sign).toBe('slow');
  });
});

test('a relay that is stopped by SIGSTOP times out, though it takes connections', async () => {
  const { cert, key } = good;
  const script = `require('node:https').createServer(JSON.parse(process.env.TLS), (_, response) =>
    response.writeHead(200).end('.'.repeat(4096))).listen(0, '${ADDRESS}', function () {
    process.stdout.write(String(this.address().port)); })`;
  const child = spawn(process.execPath, ['-e', script], {
    env: { TLS: JSON.stringify({ cert, key }) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    expect(await outcomeAt(Number(port))).toBe('ready');
    child.kill('SIGSTOP');
    expect(await outcomeAt(Number(port), 300)).toBe('timed_out');
    const socket = connect(Number(port), ADDRESS);
    await once(socket, 'connect');
    socket.destroy();
    child.kill('SIGCONT');
    expect(await outcomeAt(Number(port))).toBe('ready');
  } finally {
    child.kill('SIGKILL');
  }
});
