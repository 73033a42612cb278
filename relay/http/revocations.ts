/**
 * Which push URLs their recipients have revoked, and `POST /v1/revocations`, which revokes one.
 *
 * The store knows; what it said is believed for a moment, because asking it before every message would cost
 * as much as storing one. A store that is away revokes nothing: a message too many is better than none, and
 * other sites may well accept it.
 */
import type { Clock } from '../../system/clock.ts';
import { createRecent } from '../../system/recent.ts';
import { fail, type Result } from '../../system/result.ts';
import type { Admission } from '../admission.ts';
import { openPush } from '../core/capability.ts';
import type { KeyRing } from '../core/key-ring.ts';
import type { MailboxTag } from '../core/mailbox.ts';
import type { MessageId } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';
import type { Refusal } from '../core/refusal.ts';
import { openRevocation, parseRevocation } from '../core/revocation.ts';
import { type MessageStore, StoreUnavailable } from '../ports.ts';
import type { Acceptor } from '../replication/acceptor.ts';
import { buryFor } from './bury.ts';
import type { PublicContext } from './public-context.ts';
import { CAPABILITY_REFUSALS } from './push.ts';
import { readBody } from './request-body.ts';

export interface Revocations {
  /** `id`: see `revocationIdOf`. At once when it is known. Rejects never. */
  isRevoked(mailbox: MailboxTag, id: MessageId): boolean | Promise<boolean>;
}

/** How long "not revoked" is believed, milliseconds. Revoked is for ever. */
export const BELIEVED_MS = 5000;
const REMEMBERED_MAX = 65_536;

/** A cache of what `store` says of revocations, empty at first and bounded. */
export function createRevocations(store: Pick<MessageStore, 'missing'>, clock: Clock): Revocations {
  /** Until when an answer is believed; infinity for a push URL that is revoked. */
  const answers = createRecent<string, number>(REMEMBERED_MAX);
  const ask = async (mailbox: MailboxTag, id: MessageId): Promise<boolean> => {
    try {
      const isRevoked = (await store.missing([referenceTo({ mailbox, id })])).length === 0;
      answers.set(id, isRevoked ? Number.POSITIVE_INFINITY : clock.monotonicMs() + BELIEVED_MS);
      return isRevoked;
    } catch (error) {
      if (error instanceof StoreUnavailable) return false;
      throw error;
    }
  };
  return {
    isRevoked: (mailbox, id) => {
      const untilMs = answers.get(id) ?? 0;
      return untilMs > clock.monotonicMs() ? untilMs === Number.POSITIVE_INFINITY : ask(mailbox, id);
    },
  };
}

export interface RevokeDeps {
  readonly ring: KeyRing;
  readonly acceptor: Pick<Acceptor, 'bury'>;
  readonly admission: Pick<Admission, 'mayReceive'>;
  readonly clock: Clock;
}

const BODY_BYTES_MAX = 4096;

/** Resolves once this site knows of the revocation; the others hear of it. */
export async function revokePushUrl(
  context: PublicContext,
  { ring, acceptor, admission, clock }: RevokeDeps,
): Promise<Result<undefined, Refusal>> {
  const body = await readBody(context.env.incoming, BODY_BYTES_MAX);
  if (!body.ok) return body;
  const claim = parseRevocation(body.value.toString('utf8'));
  if (claim === undefined) return fail('request_malformed');
  const capability = openPush(claim.capabilityText, ring, Math.floor(clock.wallMs() / 1000));
  if (!capability.ok) return fail(CAPABILITY_REFUSALS[capability.fault]);
  const revocation = openRevocation(claim, capability.value, ring.pepper);
  if (!revocation.ok) return revocation;
  if (!admission.mayReceive(revocation.value.mailbox)) return fail('mailbox_token_too_fast');
  return buryFor(acceptor, revocation.value);
}
