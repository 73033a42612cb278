/**
 * Listening, and what to say when an address cannot be had: the sentence names the setting.
 */
import type { Server } from 'node:net';
import type { Endpoint } from '../../system/settings.ts';

/** Rejects with one sentence when the address cannot be had. */
export async function listen(server: Server, { host, port }: Endpoint, setting: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen({ host, port }, resolve);
  try {
    await promise;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const why = code === 'EADDRINUSE' ? 'another process listens there' : `the system says ${code}`;
    throw new Error(`${setting}: cannot listen at ${host}:${port}: ${why}`, { cause: error });
  }
  server.off('error', reject);
}
