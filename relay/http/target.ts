/**
 * Whom a request is meant for. A front that reads another host than the relay does is how requests are smuggled, so a
 * request names its host once, and a target in absolute form (RFC 9112 §3.2.2) names the same.
 */
import type { IncomingMessage } from 'node:http';

/** Whether a request names no host, two, or one in its target that differs from its `Host`. */
export function isAmbiguous({ url = '', headersDistinct }: IncomingMessage): boolean {
  const [host, ...others] = headersDistinct['host'] ?? [];
  if (host === undefined || others.length > 0) return true;
  return !url.startsWith('/') && url !== '*' && URL.parse(url)?.host !== host.toLowerCase();
}
