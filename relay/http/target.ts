/**
 * Whom a request is meant for, and what. A front that reads another host than the relay does is how requests are smuggled, so a
 * request names its host once, and a target in absolute form (RFC 9112 §3.2.2) names the same.
 */
import type { IncomingMessage } from 'node:http';

/** Whether a request names no host, two, or one in its target that differs from its `Host`. */
export function isAmbiguous({ url = '', headersDistinct }: IncomingMessage): boolean {
  const [host, ...others] = headersDistinct['host'] ?? [];
  if (host === undefined || others.length > 0) return true;
  return !url.startsWith('/') && url !== '*' && URL.parse(url)?.host !== host.toLowerCase();
}

/** Where recipients connect. */
export const SOCKET_PATH = '/v1/ws';

/** Whether a request is to become a WebSocket (RFC 6455 §4.1), at the one address where there are any. */
export function asksForSocket({ method, url = '', headers }: IncomingMessage): boolean {
  const isThere = method === 'GET' && url.split('?')[0] === SOCKET_PATH;
  return isThere && /(?:^|[\s,])websocket(?:$|[\s,])/i.test(headers.upgrade ?? '');
}
