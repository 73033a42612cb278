/**
 * What any site of a fleet can do as well as the others (make a push URL, revoke one, take a message back): one site
 * after the other is asked until one does it. Whoever asks may ask again, since each of these has the same effect
 * twice as once.
 */
import { ProtocolError, RefusedError, TransportError, UnavailableError } from './errors.ts';
import type { Site } from './fleet.ts';
import { isFinal, problemCode, retryAfterMs } from './problem.ts';
import type { HttpResponse } from './transport.ts';

/**
 * What the first site gives that can, in the order given. Throws `RefusedError` as soon as one refuses for good, and
 * otherwise what the last one threw: `TransportError`, `UnavailableError` or `ProtocolError`.
 */
export async function askAnySite<Answer>(
  sites: readonly Site[],
  ask: (site: Site) => Promise<Answer>,
): Promise<Answer> {
  let fault: unknown = new ProtocolError('a fleet without sites');
  for (const site of sites) {
    try {
      return await ask(site);
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof UnavailableError)) throw error;
      fault = error;
    }
  }
  throw fault;
}

/** Throws `RefusedError` or `UnavailableError` unless the answer has this status. `wallMs`: milliseconds since 1970. */
export function requireStatus(response: HttpResponse, status: number, wallMs: number): void {
  if (response.status === status) return;
  const code = problemCode(response.body);
  if (isFinal(response.status)) throw new RefusedError(response.status, code);
  const afterMs = retryAfterMs(response.header('retry-after'), wallMs);
  throw new UnavailableError(response.status, code, afterMs);
}
