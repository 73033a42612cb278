/**
 * Taking a message back: `DELETE /m/<address>` (RFC 8030 §7.2), by whoever got the address when it was accepted. The
 * address carries the opening of the message, so nothing is looked up, other sites can verify it, and the answer is the
 * same whether the message is still here, was read already or never was.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, type Result } from '../../system/result.ts';
import type { Admission } from '../admission.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { openMessageAddress } from '../core/message-address.ts';
import type { Refusal } from '../core/refusal.ts';
import { createRetraction } from '../core/retraction.ts';
import type { Acceptor } from '../replication/acceptor.ts';
import { buryFor } from './bury.ts';

export interface RetractDeps {
  readonly ring: KeyRing;
  readonly acceptor: Pick<Acceptor, 'bury'>;
  readonly admission: Pick<Admission, 'maySendTo'>;
  readonly clock: Clock;
  /** The longest that a message may live, which is how long it is remembered that this one is gone. */
  readonly ttlSecondsMax: number;
}

/** Resolves once this site has deleted it; the others hear of it. */
export async function retractMessage(
  addressText: string,
  { ring, acceptor, admission, clock, ttlSecondsMax }: RetractDeps,
): Promise<Result<undefined, Refusal>> {
  const address = openMessageAddress(addressText, ring);
  if (!address.ok) {
    return fail(address.fault === 'key_unknown' ? 'capability_key_unknown' : 'message_address_unknown');
  }
  // Each is written here and at every other site, also when the message is long gone.
  if (!admission.maySendTo(address.value.mailbox)) return fail('mailbox_too_fast');
  const expiresMs = clock.wallMs() + ttlSecondsMax * 1000;
  return buryFor(acceptor, createRetraction(address.value.mailbox, [address.value], expiresMs));
}
