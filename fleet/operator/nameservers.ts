/**
 * The operators' side of the vantages' vote port: documents are brought and fetched over TLS, and a nameserver is
 * believed only with a key that the manifest lists for it. Nothing here needs SSH, a cloud API or DNS.
 */
import { type IncomingMessage, request } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { nameserverName } from '../../healthcheck/core/zone.ts';
import { describeError } from '../../system/log.ts';
import { type Pin, type PinnedIdentity, peerPin } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Endpoint } from '../../system/settings.ts';
import { type Manifest, type SiteName, vantagesOf } from '../manifest/manifest.ts';

/** A nameserver, or a witness: whoever has a vote port. */
export interface Nameserver {
  readonly name: SiteName;
  readonly hosts: readonly string[];
  readonly port: number;
  readonly pins: readonly Pin[];
  readonly serverName: string;
}

export interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: string;
  /** Who asks; undefined: anybody. */
  readonly identity?: PinnedIdentity | undefined;
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Connection, request and response together, at each address. */
const DEADLINE_MS = 5000;
const REPLY_BYTES_MAX = 16 * 1024 * 1024;

/** Everybody whom a manifest names, in its order. */
export function nameserversOf(manifest: Manifest): readonly Nameserver[] {
  return vantagesOf(manifest).map(({ name, vantage }) => ({
    name,
    hosts: [vantage.ipv4, vantage.ipv6].filter((address) => address !== null),
    port: vantage.votePort,
    pins: vantage.pins,
    serverName: nameserverName(manifest, name),
  }));
}

/** The nameservers at these addresses, whatever the manifest says of addresses; any listed key is good there. */
export function nameserversAt(places: readonly Endpoint[], manifest: Manifest): readonly Nameserver[] {
  const listed = nameserversOf(manifest);
  return places.map(({ host, port }) => {
    const found = listed.find((one) => one.hosts.includes(host) && one.port === port);
    return {
      name: found?.name ?? `${host}:${port}`,
      hosts: [host],
      port,
      pins: found?.pins ?? listed.flatMap(({ pins }) => pins),
      serverName: found?.serverName ?? `ns.${manifest.zone}`,
    };
  });
}

/** Asks at each address until one answers. The fault is half a sentence for people. */
export async function askNameserver(to: Nameserver, asked: Asked): Promise<Result<Reply, string>> {
  const faults: string[] = [];
  for (const host of to.hosts) {
    try {
      return ok(await askAt(host, to, asked));
    } catch (error) {
      faults.push(`${host} port ${to.port}: ${describeError(error)}`);
    }
  }
  return fail(faults.join('; '));
}

async function askAt(host: string, to: Nameserver, asked: Asked): Promise<Reply> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const socket = await connectTo(host, to, asked.identity, signal);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request({
      createConnection: () => socket,
      method: asked.method,
      path: asked.path,
      host: to.serverName,
      headers: { connection: 'close' },
      signal,
    })
      .once('response', resolve)
      .on('error', reject)
      .end(asked.body);
    const response = await promise;
    return { status: response.statusCode ?? 0, body: await bodyOf(response) };
  } catch (error) {
    throw signal.aborted ? new Error(`no answer within ${DEADLINE_MS / 1000} s`, { cause: error }) : error;
  } finally {
    socket.destroy();
  }
}

/** Resolves once the other side has proved a pinned key. */
async function connectTo(
  host: string,
  { port, pins, serverName }: Nameserver,
  identity: PinnedIdentity | undefined,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({
    host,
    port,
    servername: serverName,
    minVersion: 'TLSv1.3',
    // Replaced by the pin, as between vantages: system/pinned-tls.ts.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(identity === undefined ? {} : { cert: identity.certificatePem, key: identity.keyPem }),
  });
  socket.once('secureConnect', resolve).on('error', reject);
  socket.once('close', () => reject(new Error('the connection was closed')));
  const give = (): void => reject(new Error(`no connection within ${DEADLINE_MS / 1000} s`));
  signal.addEventListener('abort', give, { once: true });
  try {
    await promise;
    const pin = peerPin(socket);
    if (pin === undefined || !pins.includes(pin)) {
      throw new Error('it shows a key that the manifest does not list');
    }
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', give);
  }
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    text += chunk;
    if (text.length > REPLY_BYTES_MAX) throw new Error('its answer is too long');
  }
  return text;
}
