/**
 * The transport of browsers, from `fetch` and `WebSocket` alone; Node has them too. A browser does not tell whether
 * a failed request left the machine, so every failure here may have arrived.
 */
import type { Clock } from '../system/clock.ts';
import { concat } from './bytes.ts';
import { TransportError } from './errors.ts';
import {
  checkOrigin,
  type HttpRequest,
  type HttpResponse,
  RESPONSE_BYTES_MAX,
  type RequestLimits,
  type Socket,
  type SocketHandlers,
  socketUrl,
  type Transport,
} from './transport.ts';

/** A transport for browsers (Fetch and WebSocket standards); `clock` makes its time limits. */
export function createWebTransport(clock: Clock): Transport {
  return {
    request: (request, limits) => requestByFetch(clock, request, limits),
    connect: connectWebSocket,
  };
}

async function requestByFetch(
  clock: Clock,
  request: HttpRequest,
  limits: RequestLimits,
): Promise<HttpResponse> {
  checkOrigin(request.origin);
  const stop = new AbortController();
  const cancelTimeout = clock.after(limits.timeoutMs, () => stop.abort(new TransportError('timeout', true)));
  const signal = limits.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, limits.signal]);
  try {
    const response = await fetch(request.origin + request.path, {
      method: request.method,
      headers: request.headers,
      ...(request.body === undefined ? {} : { body: new Uint8Array(request.body) }),
      redirect: 'error',
      credentials: 'omit',
      cache: 'no-store',
      referrerPolicy: 'no-referrer',
      signal,
    });
    const body = await readBody(response, limits.responseBytesMax ?? RESPONSE_BYTES_MAX);
    return {
      status: response.status,
      header: (name) => response.headers.get(name) ?? undefined,
      body,
    };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TransportError) throw error;
    throw new TransportError('unreachable', true, { cause: error });
  } finally {
    cancelTimeout();
  }
}

async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array();
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concat(...chunks);
    bytes += value.length;
    if (bytes > bytesMax) {
      await reader.cancel();
      throw new TransportError('response_too_large', true);
    }
    chunks.push(value);
  }
}

function connectWebSocket(origin: string, path: string, protocol: string, handlers: SocketHandlers): Socket {
  checkOrigin(origin);
  const socket = new WebSocket(socketUrl(origin, path), [protocol]);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', (event) => {
    const data: unknown = event.data;
    if (typeof data === 'string') handlers.onText(data);
    else if (data instanceof ArrayBuffer) handlers.onBinary(new Uint8Array(data));
  });
  // A failed connection also closes, with 1006; the error event says nothing more.
  socket.addEventListener('close', ({ code }) => handlers.onClose(code));
  return {
    send: (data) => {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(typeof data === 'string' ? data : new Uint8Array(data));
    },
    close: (code) => socket.close(code),
  };
}
