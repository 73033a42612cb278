/**
 * Accepting a message: `POST /p/<capability>`, a push resource (RFC 8030 §5).
 *
 * Cheap checks come first, and nothing is looked up: the capability itself says which mailbox it opens.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { type CapabilityFault, openPush, sealMessage } from '../core/capability.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { mailboxTagOf } from '../core/mailbox.ts';
import { createMessage, messageIdOf, topicTagOf } from '../core/message.ts';
import { type PushLimits, parsePushRequest } from '../core/push-request.ts';
import type { Refusal } from '../core/refusal.ts';
import type { RelayEvents } from '../events.ts';
import type { Recipients } from '../recipients.ts';
import type { Acceptor } from '../replication/acceptor.ts';
import type { PublicContext } from './public-app.ts';
import { readBody } from './request-body.ts';

export interface PushDeps {
  readonly ring: KeyRing;
  readonly acceptor: Acceptor;
  readonly recipients: Recipients;
  readonly clock: Clock;
  readonly events: RelayEvents;
  /** The canonical origin, where message addresses lead. */
  readonly origin: string;
  readonly limits: PushLimits;
  readonly bodyBytesMax: number;
  /** Push requests that may be under way at once; more are refused. */
  readonly requestsMax: number;
  readonly isDraining: () => boolean;
}

interface Accepted {
  readonly location: string;
  readonly ttlSeconds: number;
}

const CAPABILITY_REFUSALS: Readonly<Record<CapabilityFault, Refusal>> = {
  unknown: 'capability_unknown',
  expired: 'capability_unknown',
  key_unknown: 'capability_key_unknown',
};

/** Accepts one push request through the capability of its address. */
export type Push = (context: PublicContext, capabilityText: string) => Promise<Result<Accepted, Refusal>>;

export function createPush(deps: PushDeps): Push {
  let underWay = 0;
  return async (context, capabilityText) => {
    if (deps.isDraining()) return fail('draining');
    if (underWay >= deps.requestsMax) return fail('overloaded');
    underWay += 1;
    try {
      return await accept(context, capabilityText, deps);
    } finally {
      underWay -= 1;
    }
  };
}

async function accept(
  context: PublicContext,
  capabilityText: string,
  deps: PushDeps,
): Promise<Result<Accepted, Refusal>> {
  const { incoming } = context.env;
  const acceptedMs = deps.clock.wallMs();
  const capability = openPush(capabilityText, deps.ring, Math.floor(acceptedMs / 1000));
  if (!capability.ok) return fail(CAPABILITY_REFUSALS[capability.fault]);
  const request = parsePushRequest(incoming.headersDistinct, deps.limits);
  if (!request.ok) return request;
  const body = await readBody(incoming, deps.bodyBytesMax);
  if (!body.ok) return body;

  const { ttlSeconds, urgency, coding, idempotencyKey } = request.value;
  const mailbox = mailboxTagOf(capability.value.mailbox, deps.ring.pepper);
  const message = createMessage({
    id: messageIdOf({ capabilityId: capability.value.id, idempotencyKey, coding, body: body.value }),
    mailbox,
    acceptedMs,
    expiresMs: acceptedMs + ttlSeconds * 1000,
    urgency,
    topic: topicTagOf(request.value.topic, mailbox, deps.ring.pepper),
    coding,
    body: body.value,
  });
  const location = `${deps.origin}/m/${sealMessage(message, deps.ring)}`;
  if (ttlSeconds === 0) {
    // No durability is promised for it, so none is pretended: it reaches a recipient that is connected here.
    if (!deps.recipients.deliverNow(message)) deps.events.discarded('ttl_zero_not_connected', 1);
    return ok({ location, ttlSeconds });
  }
  return (await deps.acceptor.accept(message)) ? ok({ location, ttlSeconds }) : fail('copies_unreachable');
}
