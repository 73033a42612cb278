/**
 * The HTTPS server for clients, with limits where Node's defaults are wide: the head of a request within 10 s, all
 * of it within 15 s, 8 KiB of headers. Plain push requests are read by `push-stream.ts`, everything else by Node.
 */
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type SecureContextOptions } from 'node:tls';
import { systemClock } from '../../system/clock.ts';
import type { CertificatePair } from '../../system/server-certificate.ts';
import type { RelayEvents } from '../events.ts';
import type { Recipients } from '../recipients.ts';
import { onePerTurn } from './one-per-turn.ts';
import type { PublicApp } from './public-app.ts';
import { createPushStreams } from './push-stream.ts';
import { asksForSocket } from './target.ts';
import { refuseUnreadable } from './unreadable.ts';

export interface ClientLimits {
  readonly handshakeTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How long a connection is kept after an answer. */
  readonly keptMs: number;
  /** How long a client may read nothing of its answer; longer than a long-poll waits. */
  readonly stalledMs: number;
  /** How often `headersTimeoutMs`, `requestTimeoutMs` and `keptMs` are checked. */
  readonly checkEveryMs: number;
}

export const CLIENT_LIMITS: ClientLimits = {
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  keptMs: 20_000,
  stalledMs: 60_000,
  checkEveryMs: 1000,
};

export const HEADER_BYTES_MAX = 8192;
/** Of whoever does not wait for answers. */
export const WAITING_REQUESTS_MAX = 256;
const MIN_VERSION = 'TLSv1.2';

export interface ClientServer {
  /** Takes a TCP connection, which begins with a TLS handshake. */
  readonly take: (socket: Socket) => void;
  /** Cuts the connections on which no request is under way. */
  readonly closeIdleConnections: () => void;
  readonly closeAllConnections: () => void;
  /** From the next handshake on this one is shown; connections that exist go on. */
  readonly show: (certificate: CertificatePair) => void;
  /** What reads all requests that are not plain; it does not listen. */
  readonly http: HttpServer;
}

/**
 * A server that does not listen; the front door hands it connections. Without a certificate every handshake fails.
 */
export function createClientServer(
  certificate: CertificatePair | undefined,
  app: PublicApp,
  recipients: Recipients,
  events: Pick<RelayEvents, 'refused' | 'turnedAway'>,
  limits: Partial<ClientLimits> = {},
): ClientServer {
  const { handshakeTimeoutMs, headersTimeoutMs, requestTimeoutMs, keptMs, stalledMs, checkEveryMs } = {
    ...CLIENT_LIMITS,
    ...limits,
  };
  const listener = onePerTurn(app.listener, {
    waitingMax: WAITING_REQUESTS_MAX,
    onCut: () => events.turnedAway('too_many_requests'),
  });
  const http = createHttpServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: checkEveryMs,
      keepAliveTimeout: keptMs,
      maxHeaderSize: HEADER_BYTES_MAX,
      // Refused by the app, which has a name for it.
      requireHostHeader: false,
      // Whoever would rather speak something else is served all the same (RFC 9110 §7.8).
      shouldUpgradeCallback: asksForSocket,
    },
    listener,
  );
  http.on('upgrade', recipients.upgrade);
  // What is expected and not known is ignored, as RFC 9110 §10.1.1 allows: it is no reason for a 4xx.
  http.on('checkExpectation', listener);
  http.setTimeout(stalledMs);
  refuseUnreadable(http, events);
  // Node checks the time limits of requests from the moment a server listens; this one never does by itself.
  http.emit('listening');
  const pushes = createPushStreams({
    answer: app.push,
    handOver: (socket) => void http.emit('connection', socket),
    clock: systemClock,
    firstWithinMs: headersTimeoutMs,
    keptMs,
    checkEveryMs,
  });
  const tls = createTlsServer(
    {
      ...secureContextOf(certificate),
      // With ALPNProtocols Node keeps a small piece of a large buffer for every connection, and with it the whole.
      ALPNCallback: ({ protocols }) => protocols.find((name) => name === 'http/1.1'),
      handshakeTimeout: handshakeTimeoutMs,
    },
    pushes.take,
  );
  tls.on('tlsClientError', (_, socket) => {
    events.turnedAway('tls_failed');
    socket.destroy();
  });
  return {
    http,
    take: (socket) => void tls.emit('connection', socket),
    closeIdleConnections: () => {
      pushes.closeIdle();
      http.closeIdleConnections();
    },
    closeAllConnections: () => {
      pushes.closeAll();
      http.closeAllConnections();
    },
    show: (shown) => tls.setSecureContext(secureContextOf(shown)),
  };
}

/** A server forgets whatever of this it is not told again. */
function secureContextOf(certificate: CertificatePair | undefined): SecureContextOptions {
  return {
    minVersion: MIN_VERSION,
    ...(certificate === undefined ? {} : { cert: certificate.chainPem, key: certificate.keyPem }),
  };
}
