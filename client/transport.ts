/**
 * The port through which a client reaches relays: one HTTP request, or one WebSocket. Its two implementations are
 * web-transport.ts (browsers, and Node with its globals) and node-transport.ts (Node, where the caller decides about
 * name resolution and trust).
 */
import { TransportError } from './errors.ts';

export interface HttpRequest {
  /** Scheme, host and port: `https://relay.example.com`. */
  readonly origin: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface RequestLimits {
  /** From the call to the last byte of the answer, in milliseconds. */
  readonly timeoutMs: number;
  /** A longer answer is not read; `RESPONSE_BYTES_MAX` by default. */
  readonly responseBytesMax?: number;
  readonly signal?: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  /** A header by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  readonly body: Uint8Array;
}

export interface SocketHandlers {
  onText(text: string): void;
  onBinary(bytes: Uint8Array): void;
  /** Once, whatever happens, also when the socket never opened (then 1006). Not before `connect` has returned. */
  onClose(code: number): void;
}

export interface Socket {
  /** Sends a frame, or does nothing when the socket is not open. */
  send(data: string | Uint8Array): void;
  /** Starts closing and gives up soon after, whether or not the other side answers. */
  close(code: number): void;
}

export interface Transport {
  /**
   * Every request of the protocol may be repeated without harm, so an implementation may do so when a kept
   * connection turns out to be dead. Redirects are not followed. Rejects with a `TransportError`, or with the
   * signal's reason.
   */
  request(request: HttpRequest, limits: RequestLimits): Promise<HttpResponse>;
  connect(origin: string, path: string, protocol: string, handlers: SocketHandlers): Socket;
}

/** More than any answer of the protocol needs but those with messages, bytes. */
export const RESPONSE_BYTES_MAX = 65_536;
/** A message at the largest body that a relay may be set to, with room for its header, bytes. */
export const SOCKET_FRAME_BYTES_MAX: number = 1024 * 1024 + 1024;

/** Throws `TransportError` (origin_not_allowed) for anything but https; plain http only to this machine. */
export function checkOrigin(origin: string): void {
  const url = URL.parse(origin);
  const isLocal = url !== null && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  const allowed =
    url?.origin === origin && (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal));
  if (!allowed) throw new TransportError('origin_not_allowed', false);
}

/** `https://x` as `wss://x`. */
export function socketUrl(origin: string, path: string): string {
  return origin.replace(/^http/, 'ws') + path;
}
