/**
 * One probe: a new TLS connection to one public address of a site, the certificate verified for the name that
 * clients use, and `GET /readyz` answered with 200, all within one deadline. A probe that has failed at its deadline listens on for a
 * while: a site that answers late is slow, and one that does not is dead, which makes a difference to how many may leave.
 *
 * Request and response are both larger than two packets, so that a path that loses large packets, in whichever
 * direction, fails the probe as it would fail a message. Trouble of this machine (no file descriptors, no such address family, an event loop that stood
 * still) is told apart, because it says nothing about the site.
 */
import { type RequestOptions, request } from 'node:https';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import type { Clock } from '../../system/clock.ts';
import type { ProbeOutcome } from '../core/observation.ts';
import { errorCode } from './listen.ts';

export interface ProbeOptions {
  /** The address to connect to. */
  readonly address: string;
  readonly port: number;
  /** The name in SNI and in `Host`, for which the certificate must be valid. */
  readonly serverName: string;
  readonly trust: SecureContext;
  /** Connection, handshake and response together, milliseconds. */
  readonly timeoutMs: number;
  /** Until when an answer that comes after the timeout still tells a slow site from a dead one, milliseconds. */
  readonly lateMs: number;
  /** The site is ready and says that it is crowded, or it was ready too late. */
  readonly strained: () => void;
  readonly clock: Clock;
}

/** More than two full Ethernet frames, and well below Node's limit of 16 KiB for all headers. */
const FULL_SIZE_BYTES = 4096;
const PADDING = 'x'.repeat(FULL_SIZE_BYTES);
/** How a relay says that it refuses what can wait (docs/protocol.md). */
const LOAD_HEADER = 'relay-load';
const CROWDED = 'crowded';
/** A deadline that fires this late finds a machine that stood still, and perhaps a response that nobody read. */
const STALL_MS = 250;

const LOCAL_CODES: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EACCES',
  'EPERM',
]);
const UNREACHABLE_CODES: ReadonlySet<string> = new Set([
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ETIMEDOUT',
]);

/** Whom probes believe: the usual certificate authorities, and `extraCa` (PEM) beside them. Costly: make it once. */
export function probeTrust(extraCa: string | undefined): SecureContext {
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ...(extraCa === undefined ? {} : { ca: [...rootCertificates, extraCa] }),
  });
}

/** Probes once. Never rejects: everything that can happen is an outcome. */
export async function probe(options: ProbeOptions): Promise<ProbeOutcome> {
  const { clock, timeoutMs } = options;
  const startedMs = clock.monotonicMs();
  const { promise, resolve } = Promise.withResolvers<ProbeOutcome>();
  const attempt = request(requestOptions(options));
  let isListeningOn = false;
  const cancel = clock.after(timeoutMs, () => {
    const lateMs = clock.monotonicMs() - startedMs - timeoutMs;
    isListeningOn = lateMs <= STALL_MS;
    resolve(isListeningOn ? 'timed_out' : 'local_stall');
  });
  attempt.once('response', (response) => {
    if (response.statusCode !== 200) resolve('not_ready');
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes < FULL_SIZE_BYTES || response.statusCode !== 200) return;
      if (isListeningOn || response.headers[LOAD_HEADER] === CROWDED) options.strained();
      resolve('ready');
      attempt.destroy();
    });
    // A body that is cut short, whatever it says of itself.
    response.on('error', () => undefined).once('close', () => resolve('response_malformed'));
  });
  attempt.on('error', (error) => resolve(outcomeOf(error)));
  attempt.end();
  try {
    return await promise;
  } finally {
    cancel();
    if (isListeningOn) clock.after(options.lateMs - timeoutMs, () => attempt.destroy());
    else attempt.destroy();
  }
}

function requestOptions(options: ProbeOptions): RequestOptions & { readonly secureContext: SecureContext } {
  const { address, port, serverName, trust } = options;
  return {
    host: address,
    port,
    servername: serverName,
    path: `/readyz?bytes=${FULL_SIZE_BYTES}`,
    agent: false,
    headers: { host: port === 443 ? serverName : `${serverName}:${port}`, 'x-padding': PADDING },
    maxHeaderSize: 16_384,
    rejectUnauthorized: true,
    secureContext: trust,
  };
}

/** Whether the `code` of a system error says something about this machine only. */
export function isLocalCode(code: string | undefined): boolean {
  return code !== undefined && LOCAL_CODES.has(code);
}

function outcomeOf(error: Error): ProbeOutcome {
  const code = errorCode(error) ?? '';
  if (isLocalCode(code)) return 'local_error';
  if (UNREACHABLE_CODES.has(code)) return 'unreachable';
  if (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE') return 'refused';
  if (code.startsWith('HPE_')) return 'response_malformed';
  // What OpenSSL's verification says, X509_V_ERR_* without the prefix, and Node's check of the name.
  const isCertificate = /CERT|UNABLE_TO_|SELF_SIGNED|CRL|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)/.test(code);
  if (isCertificate && !code.startsWith('ERR_SSL_')) return 'certificate_invalid';
  return 'tls_failed';
}
