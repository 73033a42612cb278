/**
 * Revocations: the recipient's word that one of its push URLs is no good any more.
 *
 * A revocation is like an acknowledgement (`ack.ts`) of an id that no message has, because it is derived from the push URL. So
 * the mailbox key signs it, it replicates, is verified and survives a wipe as every acknowledgement does, and
 * no relay has to keep a list.
 */
import { createHash } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { createAck, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SignedAck } from './ack.ts';
import type { PushCapability } from './capability.ts';
import { mailboxTagOf } from './mailbox.ts';
import type { MessageId } from './message.ts';

/** How long a revocation of a push URL that does not expire is remembered: until the year 9999. */
const FOREVER_MS = 253_402_300_799_000;

/** What is acked to revoke a push URL, from the text behind `/p/`, which has only one spelling. */
export function revocationIdOf(capabilityText: string): MessageId {
  return createHash('sha256')
    .update('archipelago revoke v1\n')
    .update(capabilityText)
    .digest()
    .toString('base64url', 0, 16) as MessageId;
}

/** What somebody says who wants a push URL revoked; nothing of it is verified yet. */
export interface RevocationClaim {
  readonly capabilityText: string;
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}

/** Reads `{"capability", "key", "signature"}`, all base64url; undefined when it is something else. Never throws. */
export function parseRevocation(text: string): RevocationClaim | undefined {
  const { capability, key, signature } = recordIn(text);
  const publicKey = bytesIn(key, PUBLIC_KEY_BYTES);
  const signatureBytes = bytesIn(signature, SIGNATURE_BYTES);
  if (typeof capability !== 'string' || publicKey === undefined || signatureBytes === undefined)
    return undefined;
  return { capabilityText: capability, publicKey, signature: signatureBytes };
}

/** Verifies that the mailbox of the capability signed it, and gives what stores and peers keep of it. */
export function openRevocation(
  { capabilityText, publicKey, signature }: RevocationClaim,
  capability: PushCapability,
  pepper: Uint8Array,
): Result<SignedAck, 'revocation_not_signed'> {
  const expiresMs = capability.expiresSeconds === 0 ? FOREVER_MS : capability.expiresSeconds * 1000;
  const idBytes = Buffer.from(revocationIdOf(capabilityText), 'base64url');
  const ack = createAck(publicKey, signature, idBytes, expiresMs, pepper, 'revocation');
  const isOwner = ack.ok && ack.value.mailbox === mailboxTagOf(capability.mailbox, pepper);
  return isOwner ? ok(ack.value) : fail('revocation_not_signed');
}

function recordIn(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // Not JSON: it says nothing.
    return {};
  }
}

function bytesIn(value: unknown, length: number): Uint8Array | undefined {
  if (typeof value !== 'string') return undefined;
  const bytes = Buffer.from(value, 'base64url');
  return bytes.length === length && bytes.toString('base64url') === value ? bytes : undefined;
}
