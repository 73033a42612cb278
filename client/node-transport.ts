/**
 * The transport of Node, over `node:https` and `ws`: the caller may decide how names are resolved and which
 * certificates are believed, which a drill needs and a browser does not offer. The only file of the client that
 * imports `node:` modules.
 */
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { WebSocket } from 'ws';
import type { Clock } from '../system/clock.ts';
import { TransportError, type TransportFault } from './errors.ts';
import {
  checkOrigin,
  type HttpRequest,
  type HttpResponse,
  RESPONSE_BYTES_MAX,
  type RequestLimits,
  SOCKET_FRAME_BYTES_MAX,
  type Socket,
  type SocketHandlers,
  socketUrl,
  type Transport,
} from './transport.ts';

export interface NodeTransportOptions {
  readonly clock: Clock;
  /** Certificate authorities to believe instead of the system's, PEM. */
  readonly ca?: string;
  /** Asked once for every new connection, never cached. The addresses are tried in order. */
  readonly lookup?: (hostname: string) => Promise<readonly string[]>;
  /** How long a connection, TLS included, may take to come up, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Whether HTTP connections are kept for later requests. */
  readonly keepAlive: boolean;
}

export interface NodeTransport extends Transport {
  /** Drops the kept connections, which would keep the process alive. */
  close(): void;
}

/** How long the other side has to answer a closing handshake before the socket is destroyed, in milliseconds. */
const CLOSE_WITHIN_MS = 500;

/**
 * A transport for Node. Its requests never reject: a failure is a value that says whether the request may have
 * arrived.
 */
export function createNodeTransport(options: NodeTransportOptions): NodeTransport {
  const { clock, connectTimeoutMs, keepAlive } = options;
  const network = {
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(options.lookup === undefined ? {} : { lookup: nodeLookup(options.lookup) }),
  };
  const agents = {
    https: new HttpsAgent({ keepAlive, ...network }),
    http: new HttpAgent({ keepAlive, ...network }),
  };
  const start = (request: HttpRequest, isSecure: boolean): ClientRequest => {
    const url = new URL(request.origin + request.path);
    const { method, body } = request;
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const headers = { ...request.headers, ...length };
    return isSecure
      ? requestHttps(url, { method, headers, agent: agents.https })
      : requestHttp(url, { method, headers, agent: agents.http });
  };
  const request = async (wanted: HttpRequest, limits: RequestLimits): Promise<HttpResponse> => {
    checkOrigin(wanted.origin);
    limits.signal?.throwIfAborted();
    const isSecure = wanted.origin.startsWith('https:');
    const deadlineMs = clock.monotonicMs() + limits.timeoutMs;
    for (;;) {
      const attempt = start(wanted, isSecure);
      const left = { ...limits, timeoutMs: Math.max(0, deadlineMs - clock.monotonicMs()) };
      try {
        return await exchange(attempt, wanted.body, { clock, connectTimeoutMs, isSecure, limits: left });
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
        // Connections kept to a machine that has stopped answering would cost every later request a time-out each.
        if (error.fault === 'timeout') dropIdle(isSecure ? agents.https : agents.http);
        // A kept connection that the other side closed meanwhile; each turn uses one up, so this ends.
        if (error.fault !== 'broken' || !attempt.reusedSocket) throw error;
      }
    }
  };
  return {
    request,
    connect: (origin, path, protocol, handlers) => {
      checkOrigin(origin);
      const socket = new WebSocket(socketUrl(origin, path), [protocol], {
        ...network,
        handshakeTimeout: connectTimeoutMs,
        maxPayload: SOCKET_FRAME_BYTES_MAX,
        perMessageDeflate: false,
      });
      return adaptSocket(socket, clock, handlers);
    },
    close: () => {
      agents.https.destroy();
      agents.http.destroy();
    },
  };
}

interface Exchange {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly isSecure: boolean;
  readonly limits: RequestLimits;
}

/** One attempt of a request. */
async function exchange(
  request: ClientRequest,
  body: Uint8Array | undefined,
  { clock, connectTimeoutMs, isSecure, limits }: Exchange,
): Promise<HttpResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  let isConnected = false;
  let stopped: Error | undefined;
  const stop = (reason: Error): void => {
    stopped ??= reason;
    request.destroy();
    reject(stopped);
  };
  const cancels = [clock.after(limits.timeoutMs, () => stop(new TransportError('timeout', isConnected)))];
  const abort = (): void => stop(abortReason(limits.signal));
  limits.signal?.addEventListener('abort', abort, { once: true });
  request.on('socket', (socket) => {
    isConnected = !socket.connecting;
    if (isConnected) return;
    cancels.push(
      clock.after(connectTimeoutMs, () => isConnected || stop(new TransportError('timeout', false))),
    );
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      isConnected = true;
    });
  });
  request.on('error', (error: NodeJS.ErrnoException) => {
    reject(stopped ?? new TransportError(faultOf(error, isConnected), isConnected, { cause: error }));
  });
  request.on('response', (response) => {
    readBody(response, limits.responseBytesMax ?? RESPONSE_BYTES_MAX).then(
      (content) =>
        resolve({
          status: response.statusCode ?? 0,
          header: (name) => headerOf(response, name),
          body: content,
        }),
      (error: unknown) => {
        request.destroy();
        reject(stopped ?? asTransportError(error));
      },
    );
  });
  request.end(body);
  try {
    return await promise;
  } finally {
    for (const cancel of cancels) cancel();
    limits.signal?.removeEventListener('abort', abort);
  }
}

async function readBody(response: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new TransportError('response_too_large', true);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function headerOf(response: IncomingMessage, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function faultOf(error: NodeJS.ErrnoException, isConnected: boolean): TransportFault {
  if (isConnected) return 'broken';
  return error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN' ? 'unresolved' : 'unreachable';
}

function asTransportError(error: unknown): TransportError {
  return error instanceof TransportError ? error : new TransportError('broken', true, { cause: error });
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason });
}

function dropIdle(agent: HttpAgent): void {
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy();
  }
}

function nodeLookup(lookup: (hostname: string) => Promise<readonly string[]>): LookupFunction {
  return (hostname, options, callback) => {
    const answer = async (): Promise<void> => {
      const addresses = await lookup(hostname).catch(() => []);
      const found = addresses
        .map((address) => ({ address, family: isIP(address) }))
        .filter(({ family }) => options.family === 0 || (options.family ?? family) === family);
      const first = found[0];
      if (first === undefined) callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), '');
      else if (options.all === true) callback(null, found);
      else callback(null, first.address, first.family);
    };
    void answer();
  };
}

function adaptSocket(socket: WebSocket, clock: Clock, handlers: SocketHandlers): Socket {
  const terminations: (() => void)[] = [];
  socket.on('message', (data, isBinary) => {
    // `nodebuffer`, the default type, gives every message as one Buffer.
    if (!Buffer.isBuffer(data)) return;
    if (isBinary) handlers.onBinary(data);
    else handlers.onText(data.toString('utf8'));
  });
  // A failed connection also closes, with 1006; without a listener the error would end the process.
  socket.on('error', () => undefined);
  socket.on('close', (code) => {
    for (const cancel of terminations) cancel();
    handlers.onClose(code);
  });
  return {
    send: (data) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
    },
    close: (code) => {
      if (socket.readyState === WebSocket.CLOSED || socket.readyState === WebSocket.CLOSING) return;
      socket.close(code);
      terminations.push(clock.after(CLOSE_WITHIN_MS, () => socket.terminate()));
    },
  };
}
