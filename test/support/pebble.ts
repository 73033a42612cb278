/**
 * Pebble, the ACME test server of Let's Encrypt, as a daemon of a test: real orders, challenges over real DNS,
 * certificates that live as long as the test wants, and nonces that are refused now and then.
 */
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from './eventually.ts';
import { type Daemon, startDaemon } from './programs.ts';

export interface Pebble extends AsyncDisposable {
  readonly directoryUrl: string;
  /** The authority of Pebble's own HTTPS, PEM; a file of it. */
  readonly caPath: string;
  /** The root under which it issues, PEM; another one after each start. */
  root(): Promise<string>;
  output(): string;
  stop(): Promise<void>;
  /** Starts again at the same place, with no memory. */
  start(): Promise<void>;
}

export interface PebbleOptions {
  readonly directory: string;
  /** Whom it asks for challenges, `address:port`. */
  readonly dnsServer: string;
  readonly validitySeconds: number;
  /** Key id and HMAC key, base64url; given, nobody gets an account without. */
  readonly binding?: readonly [string, string];
  readonly blockedNames?: readonly string[];
}

/** Starts it; rejects when it does not come up. */
export async function startPebble(options: PebbleOptions): Promise<Pebble> {
  const { directory, dnsServer, validitySeconds, binding, blockedNames = [] } = options;
  const context = { wallMs: systemClock.wallMs(), random: systemRandom };
  const authority = await makeAuthority(context);
  const tls = await issueServerCertificate(context, authority, ['localhost']);
  const [port, managementPort] = [await freePort(), await freePort()];
  const write = async (name: string, content: string): Promise<string> => {
    await writeFile(join(directory, name), content, { mode: 0o600 });
    return join(directory, name);
  };
  const caPath = await write('pebble-ca.pem', authority.certificatePem);
  const config = await write(
    'pebble.json',
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${port}`,
        managementListenAddress: `127.0.0.1:${managementPort}`,
        certificate: await write('pebble.pem', tls.certificatePem),
        privateKey: await write('pebble.key', tls.keyPem),
        httpPort: 5002,
        tlsPort: 5001,
        // Pebble 2.4 reads the first, 2.10 the second.
        certificateValidityPeriod: validitySeconds,
        profiles: { default: { description: 'for tests', validityPeriod: validitySeconds } },
        externalAccountBindingRequired: binding !== undefined,
        externalAccountMACKeys: binding === undefined ? {} : { [binding[0]]: binding[1] },
        domainBlocklist: blockedNames,
      },
    }),
  );
  let daemon: Daemon | undefined;
  const ask = async (at: number, path: string): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    request({
      host: 'localhost',
      port: at,
      path,
      ca: authority.certificatePem,
      agent: false,
      headers: { 'user-agent': 'test' },
    })
      .once('response', (response) => void text(response).then(resolve, reject))
      .once('error', reject)
      .end();
    return promise;
  };
  const stop = async (): Promise<void> => {
    await daemon?.[Symbol.asyncDispose]();
    daemon = undefined;
  };
  const start = async (): Promise<void> => {
    daemon = startDaemon('pebble', ['-config', config, '-dnsserver', dnsServer, '-strict'], {
      PEBBLE_VA_NOSLEEP: '1',
      PEBBLE_AUTHZREUSE: '0',
      PEBBLE_WFE_NONCEREJECT: '20',
    });
    await eventually('pebble answers', async () => {
      const answer = await ask(port, '/dir').catch(() => '');
      return answer.includes('newOrder') ? true : undefined;
    });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    directoryUrl: `https://localhost:${port}/dir`,
    caPath,
    root: async () => ask(managementPort, '/roots/0'),
    output: () => daemon?.output() ?? '',
    start,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
