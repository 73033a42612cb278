/**
 * Listening sockets, and what to say when one cannot be had: a taken port is the commonest reason why a nameserver
 * does not start, so the sentence names the address, the port and the protocol.
 */
import type { Server } from 'node:net';
import type { Endpoint } from '../../system/settings.ts';

export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** `192.0.2.7:53`, `[2001:db8::7]:53`. */
function endpointText({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The error to throw when `what` cannot listen at `endpoint`. */
export function listenError(what: string, endpoint: Endpoint, cause: unknown): ListenError {
  const code = errorCode(cause);
  const reason =
    code === 'EADDRINUSE'
      ? 'another program already uses it'
      : code === 'EACCES'
        ? 'this process may not use it (ports below 1024 need CAP_NET_BIND_SERVICE)'
        : code === 'EADDRNOTAVAIL'
          ? 'this machine does not have that address'
          : (code ?? String(cause));
  return new ListenError(`cannot listen for ${what} at ${endpointText(endpoint)}: ${reason}`, { cause });
}

/** Listens and resolves with the port, which is the endpoint's unless that is 0. Rejects with a ListenError. */
export async function listenAt(server: Server, what: string, endpoint: Endpoint): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('listening', resolve).once('error', reject);
  server.listen(endpoint);
  try {
    await promise;
  } catch (error) {
    throw listenError(what, endpoint, error);
  }
  server.off('error', reject);
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : endpoint.port;
}

/** The `code` of a system error, such as `ECONNREFUSED`. */
export function errorCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
