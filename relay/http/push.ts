/**
 * Accepting a message: `POST /p/<capability>`, a push resource (RFC 8030 §5).
 *
 * Cheap checks come first, and nothing is looked up: the capability itself says which mailbox it opens.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Admission } from '../admission.ts';
import type { CapabilityFault } from '../core/capability.ts';
import { CODING_OF_NOTHING, isPlausible, NOTHING } from '../core/ciphertext.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { createMessage, messageIdOf, topicTagOf } from '../core/message.ts';
import { sealMessageAddress } from '../core/message-address.ts';
import {
  type HeaderValues,
  type PushLimits,
  type PushRequest,
  parsePushRequest,
} from '../core/push-request.ts';
import type { Refusal } from '../core/refusal.ts';
import { commitmentOf, openingOf } from '../core/retraction.ts';
import type { RelayEvents } from '../events.ts';
import type { Quotas } from '../quotas.ts';
import type { Acceptor } from '../replication/acceptor.ts';
import type { Topics } from '../replication/topics.ts';
import type { Transients } from '../replication/transients.ts';
import type { Credential } from './failed-credentials.ts';
import { createTargets, type OpenTarget } from './push-targets.ts';
import type { BodyFault } from './request-body.ts';
import type { Revocations } from './revocations.ts';
import type { VapidVerifier } from './vapid-verifier.ts';

export interface PushDeps {
  readonly ring: KeyRing;
  readonly acceptor: Acceptor;
  readonly topics: Pick<Topics, 'sent'>;
  readonly verifyVapid: VapidVerifier;
  readonly revocations: Revocations;
  readonly transients: Pick<Transients, 'sent'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: RelayEvents;
  /** The canonical origin, where message addresses lead. */
  readonly origin: string;
  readonly limits: PushLimits;
  readonly bodyBytesMax: number;
  readonly admission: Admission;
  readonly quotas: Pick<Quotas, 'refuses' | 'ttlSeconds'>;
  readonly isDraining: () => boolean;
}

interface Accepted {
  readonly location: string;
  readonly ttlSeconds: number;
  /** Whether another message, which came first with the same idempotency key, was kept instead. */
  readonly isOther: boolean;
}

/** What a push URL that does not open is answered with. */
export const CAPABILITY_REFUSALS: Readonly<Record<CapabilityFault, Refusal>> = {
  unknown: 'capability_unknown',
  expired: 'capability_unknown',
  key_unknown: 'capability_key_unknown',
};

/** A push request, whoever read it. */
export interface IncomingPush {
  /** What follows `/p/` in its address. */
  readonly capability: string;
  readonly credential: Credential;
  readonly headers: HeaderValues;
  /** The body, of at most `bytesMax` bytes. Never rejects. */
  readonly readBody: (
    bytesMax: number,
  ) => Result<Uint8Array, BodyFault> | Promise<Result<Uint8Array, BodyFault>>;
}

/** Accepts one push request through the capability of its address. */
type Push = (incoming: IncomingPush) => Promise<Result<Accepted, Refusal>>;

/** The handler of a push (RFC 8030 §5): 201 with `Location`, or the name of a refusal. */
export function createPush(deps: PushDeps): Push {
  const context = { open: createTargets(deps.ring), parse: createParser(deps.limits) };
  return async (incoming) => {
    if (deps.isDraining()) return fail('draining');
    const { headers, credential } = incoming;
    const leave = deps.admission.enter(headers['urgency']?.[0], credential.address);
    if (leave === undefined) return fail('overloaded');
    try {
      return await accept(incoming, context, deps);
    } finally {
      leave();
    }
  };
}

interface Remembering {
  readonly open: OpenTarget;
  readonly parse: (headers: HeaderValues) => Result<PushRequest, Refusal>;
}

/** What headers say, once for headers that come again as the same object (`push-stream.ts`). */
function createParser(limits: PushLimits): Remembering['parse'] {
  const parsed = new WeakMap<HeaderValues, Result<PushRequest, Refusal>>();
  return (headers) => {
    const known = parsed.get(headers);
    if (known !== undefined) return known;
    const request = parsePushRequest(headers, limits);
    parsed.set(headers, request);
    return request;
  };
}

/** What is known is not awaited: each await is another turn of the microtask queue and keeps all of this alive for it. */
async function accept(
  incoming: IncomingPush,
  { open, parse }: Remembering,
  deps: PushDeps,
): Promise<Result<Accepted, Refusal>> {
  const acceptedMs = deps.clock.wallMs();
  const target = open(incoming.capability, Math.floor(acceptedMs / 1000));
  if (!target.ok) return fail(CAPABILITY_REFUSALS[target.fault]);
  const { id: capabilityId, tag: mailbox, vapidKeyHash } = target.value;
  const request = parse(incoming.headers);
  if (!request.ok) return request;
  const { urgency, coding } = request.value;
  if (vapidKeyHash !== undefined) {
    const fault = deps.verifyVapid(request.value.authorization, vapidKeyHash);
    if (fault !== undefined) return fail(fault);
  }
  const revoked = deps.revocations.isRevoked(mailbox, target.value.revocationId);
  if (revoked instanceof Promise ? await revoked : revoked) return fail('capability_revoked');
  const isTooFast = deps.admission.spend(target.value.name, mailbox);
  if (isTooFast !== undefined) return fail(isTooFast);
  const isNothing = coding === NOTHING;
  const reading = incoming.readBody(isNothing ? 0 : deps.bodyBytesMax);
  const body = reading instanceof Promise ? await reading : reading;
  if (!body.ok) return fail(isNothing && body.fault === 'body_too_large' ? 'not_encrypted' : body.fault);
  if (!isPlausible(coding, body.value)) return fail('not_encrypted');

  const ttl = deps.quotas.ttlSeconds(mailbox, request.value.ttlSeconds);
  const ttlSeconds = ttl instanceof Promise ? await ttl : ttl;
  // An empty body says nothing of which message it is, so each is one of its own.
  const idempotencyKey =
    request.value.idempotencyKey ??
    (isNothing ? Buffer.from(deps.random.bytes(16)).toString('base64url') : undefined);
  const id = messageIdOf({ capabilityId, idempotencyKey, coding, body: body.value });
  const opening = openingOf(capabilityId, id);
  const message = createMessage({
    id,
    mailbox,
    acceptedMs,
    expiresMs: acceptedMs + ttlSeconds * 1000,
    commitment: commitmentOf({ id, opening }),
    urgency,
    topic: topicTagOf(request.value.topic, capabilityId, deps.ring.pepper),
    coding: isNothing ? CODING_OF_NOTHING : coding,
    body: body.value,
  });
  const location = `${deps.origin}/m/${sealMessageAddress({ mailbox, id, opening }, deps.ring)}`;
  if (ttlSeconds === 0) {
    deps.transients.sent(message);
    return ok({ location, ttlSeconds, isOther: false });
  }
  const refused = deps.quotas.refuses({ mailbox, urgency, bytes: message.record.length });
  const isTooMuch = refused instanceof Promise ? await refused : refused;
  if (isTooMuch !== undefined) return fail(isTooMuch);
  const acceptance = await deps.acceptor.accept(message);
  if (acceptance === 'unconfirmed') return fail('copies_unreachable');
  const isOther = acceptance === 'other_kept';
  const replacing = isOther ? undefined : deps.topics.sent(message, capabilityId);
  if (isOther) deps.events.discarded('idempotency_conflict', 1);
  if (replacing !== undefined) await replacing;
  return ok({ location, ttlSeconds, isOther });
}
