/**
 * Tombstones: what stores remember of messages that are gone, and peers verify before they delete. One is either the
 * recipient's signed acknowledgement or a retraction; the first byte of the record tells which.
 */
import type { Result } from '../../system/result.ts';
import { type AckFault, openAck, type SignedAck } from './ack.ts';
import { openRetraction, RETRACTION_VERSION } from './retraction.ts';

/** Opens a record from a store or a peer and verifies what proves it. Never throws. */
export function openTombstone(record: Uint8Array, pepper: Uint8Array): Result<SignedAck, AckFault> {
  return record[0] === RETRACTION_VERSION ? openRetraction(record) : openAck(record, pepper);
}
