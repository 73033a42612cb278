/**
 * What drill messages say: who sent them, the how-manieth it is and for whom, and a body derived from that by
 * SHA-256, so that the checker can tell what every byte should have been.
 */
import { createHash } from 'node:crypto';
import type { SendId } from './ledger.ts';

export interface Claim {
  readonly id: SendId;
  readonly to: string;
}

const FIRST_LINE = /^archipelago-drill (\S{1,64}) (\S{1,64})\n/;

/** `bytes` long, or longer when the first lines need more. */
export function makePayload(runId: string, claim: Claim, bytes: number): Buffer {
  const head = `archipelago-drill ${claim.id} ${claim.to}\n`;
  const hash = createHash('sha256').update(`${runId}\0${claim.id}\0${claim.to}`).digest('hex');
  const repeats = Math.max(1, Math.ceil((bytes - head.length) / hash.length));
  return Buffer.from((head + hash.repeat(repeats)).slice(0, Math.max(bytes, head.length + hash.length)));
}

/** What a payload claims to be, or null when it is none. The claim is not believed before its digest is checked. */
export function readClaim(payload: Uint8Array): Claim | null {
  const match = FIRST_LINE.exec(Buffer.from(payload.subarray(0, 200)).toString('latin1'));
  const [, id, to] = match ?? [];
  return id === undefined || to === undefined ? null : { id, to };
}

/** SHA-256 as hex. */
export function digestOf(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex');
}
