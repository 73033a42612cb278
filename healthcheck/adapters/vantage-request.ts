/**
 * One request to another vantage, on a connection of its own that has proved the key which the manifest lists, so that
 * a long document never stands before a vote.
 */

import { type IncomingMessage, request } from 'node:http';
import type { WitnessEntry } from '../../fleet/manifest/manifest.ts';
import { readBounded } from '../../system/bounded-body.ts';
import { connectPinned, type PinnedIdentity } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';

export interface VantageRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface VantageResponse {
  readonly status: number;
  readonly tag: string | undefined;
  readonly body: string;
}

/** Connection, request and response together. */
const DEADLINE_MS = 5000;
const BODY_BYTES_MAX = 524_288;

/** Asks the vantage at each of its addresses until one answers; never rejects. `serverName` is for its logs only. */
export async function askVantage(
  { vantage }: WitnessEntry,
  asked: VantageRequest,
  { identity, serverName }: { readonly identity: PinnedIdentity; readonly serverName: string },
): Promise<Result<VantageResponse, 'unreachable'>> {
  for (const host of [vantage.ipv4, vantage.ipv6]) {
    if (host === null) continue;
    try {
      const destination = { host, port: vantage.votePort, serverName, pins: vantage.pins };
      const socket = await connectPinned(destination, identity, DEADLINE_MS);
      try {
        const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
        request({
          createConnection: () => socket,
          signal: AbortSignal.timeout(DEADLINE_MS),
          method: asked.method,
          path: asked.path,
          host: 'vantage',
          headers: asked.headers,
        })
          .once('response', resolve)
          .on('error', reject)
          .end(asked.body);
        const response = await promise;
        const body = (await readBounded(response, BODY_BYTES_MAX)).toString('latin1');
        return ok({ status: response.statusCode ?? 0, tag: response.headers.etag, body });
      } finally {
        socket.destroy();
      }
    } catch {
      // The other address, if there is one; who cannot be reached now is asked again soon.
    }
  }
  return fail('unreachable');
}
