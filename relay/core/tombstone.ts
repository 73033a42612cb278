/**
 * Tombstones: what stores remember of messages that are gone, and peers verify before they delete. One is either the
 * recipient's signed acknowledgement or revocation, or a retraction; the first byte of the record tells which.
 */
import { ok, type Result } from '../../system/result.ts';
import { type AckFault, isRevocation, openAck, type SignedAck, TOMBSTONE_SLACK_MS } from './ack.ts';
import { TTL_MS_MAX } from './message.ts';
import { openRetraction, RETRACTION_VERSION } from './retraction.ts';

/** Opens a record from a store or a peer and verifies what proves it. Never throws. */
export function openTombstone(record: Uint8Array, pepper: Uint8Array): Result<SignedAck, AckFault> {
  return record[0] === RETRACTION_VERSION ? openRetraction(record) : openAck(record, pepper);
}

/**
 * The same for a record that another site sent. How long a tombstone is remembered is signed by nobody, so a site could have
 * the others remember it for ever: it is believed as far as a message can live from now on, and of a revocation, whose
 * number the recipient's push URLs bound, without limit. `rememberedUntilMs`: until when the other site remembers it.
 */
export function openForeignTombstone(
  record: Uint8Array,
  pepper: Uint8Array,
  nowMs: number,
  rememberedUntilMs: (id: string) => number = () => 0,
): Result<SignedAck, AckFault> {
  const opened = openTombstone(record, pepper);
  if (!opened.ok || isRevocation(record)) return opened;
  const expiresMs = Math.max(opened.value.expiresMs, rememberedUntilMs(opened.value.id) - TOMBSTONE_SLACK_MS);
  return ok({ ...opened.value, expiresMs: Math.min(expiresMs, nowMs + TTL_MS_MAX) });
}
