/**
 * Receiving without a WebSocket, for networks and programs that do not let one through: ask, wait, get what is not
 * acked, ack it, ask again (docs/protocol.md, "Receiving: long-poll"). Delivery and acks are those of the WebSocket;
 * there is no cursor here either, so an answer that got lost is simply given again.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { AcksTooFast, type BuryAck } from '../ack-gate.ts';
import { createAck } from '../core/ack.ts';
import type { DeliveryLoops } from '../core/delivery-loops.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';
import type { Refusal } from '../core/refusal.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore } from '../ports.ts';
import type { BuriedElsewhere } from '../replication/buried-elsewhere.ts';
import type { MailboxTokenVerifier } from './mailbox-token.ts';
import type { PublicContext } from './public-context.ts';
import { readBody } from './request-body.ts';

export interface LongPollDeps {
  readonly store: Pick<MessageStore, 'pending' | 'onChange'>;
  readonly verify: MailboxTokenVerifier;
  /** The gate through which the acks of one request go. */
  readonly openAckGate: () => BuryAck;
  /** Takes from the rate of a mailbox that its owner asks for. */
  readonly mayReceive: (mailbox: MailboxTag) => boolean;
  /** Whether the relay has so much to do that recipients should go elsewhere. */
  readonly isBusy: () => boolean;
  readonly buriedElsewhere: BuriedElsewhere;
  readonly loops: DeliveryLoops;
  readonly pepper: Uint8Array;
  /** How long an ack is remembered, milliseconds. */
  readonly ttlMsMax: number;
  /** Whether one more recipient may wait, or be connected by WebSocket. */
  readonly hasRoom: () => boolean;
  readonly clock: Clock;
  readonly events: RelayEvents;
}

/** A message as JSON. */
export interface PolledMessage {
  readonly id: string;
  readonly acceptedSeconds: number;
  readonly secondsLeft: number;
  readonly coding: string;
  readonly body: string;
}

export interface LongPoll {
  /** `GET /v1/messages?wait=25`; nothing after so many seconds is an empty list. */
  poll(context: PublicContext): Promise<Result<readonly PolledMessage[], Refusal>>;
  /** `POST /v1/acks` with `{"ids": […], "signature": "…"}`. */
  ack(context: PublicContext): Promise<Result<undefined, Refusal>>;
  /** Recipients that wait now. */
  waiting(): number;
  /** Answers everybody who waits, and lets nobody wait any more. */
  stop(): void;
}

export const WAIT_SECONDS_MAX = 25;
export const MESSAGES_MAX = 64;
/** Bodies of one answer, bytes; one message always fits. */
const ANSWER_BYTES = 1024 * 1024;
/** 512 ids and a signature as JSON fit. */
const ACK_BYTES_MAX = 16_384;

/** The handler of long-polls; each holds one request open for at most the time that the client asked for. */
export function createLongPoll(deps: LongPollDeps): LongPoll {
  const waiting = new Map<MailboxTag, Set<() => void>>();
  let waiters = 0;
  let isStopping = false;
  const wake = (mailbox: MailboxTag): void => {
    for (const each of waiting.get(mailbox) ?? []) each();
  };
  deps.store.onChange(
    (mailbox) => wake(mailbox),
    (mailbox) => waiting.has(mailbox),
  );

  /** Resolves when something happens to the mailbox, at the latest at `untilMs`, or when nobody listens any more. */
  const change = async (mailbox: MailboxTag, untilMs: number, gone: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const others = waiting.get(mailbox) ?? new Set<() => void>();
    waiting.set(mailbox, others.add(resolve));
    const cancel = deps.clock.after(Math.max(0, untilMs - deps.clock.monotonicMs()), resolve);
    gone.addEventListener('abort', () => resolve(), { once: true });
    waiters += 1;
    await promise;
    waiters -= 1;
    cancel();
    others.delete(resolve);
    if (others.size === 0) waiting.delete(mailbox);
  };

  const poll: LongPoll['poll'] = async (context) => {
    if (isStopping) return fail('draining');
    if (deps.isBusy()) return fail('overloaded');
    const waitMs = waitMsOf(context.req.query('wait'));
    if (waitMs === undefined) return fail('request_malformed');
    const owner = await ownerOf(context, deps);
    if (!owner.ok) return owner;
    const { mailbox } = owner.value;
    const untilMs = deps.clock.monotonicMs() + waitMs;
    const gone = context.req.raw.signal;
    const buried = new Set<string>();
    let isUnsure = true;
    for (;;) {
      // Listening begins before the read, so nothing falls between the two.
      const isOver = deps.clock.monotonicMs() >= untilMs || gone.aborted || isStopping;
      if (!isOver && !deps.hasRoom()) return fail('overloaded');
      const changed = isOver ? undefined : change(mailbox, untilMs, gone);
      const found = await read(mailbox, deps).catch(() => undefined);
      // Until nothing waits: what comes then comes to somebody who is there.
      isUnsure &&= found === undefined || found.length > 0;
      const unsure = isUnsure ? (found ?? []) : [];
      for (const { ids } of await deps.buriedElsewhere(unsure.map(referenceTo))) {
        for (const id of ids) buried.add(id);
        deps.loops.forget(mailbox, ids);
      }
      const due = found?.filter(({ id }) => !buried.has(id));
      if (due === undefined || due.length > 0 || changed === undefined) {
        wake(mailbox);
        if (due === undefined) return fail('overloaded');
        deps.events.delivered(due.length);
        return ok(due.map((message) => asJson(message, deps.clock.wallMs())));
      }
      await changed;
    }
  };
  return {
    poll,
    waiting: () => waiters,
    ack: (context) => acknowledge(context, deps),
    stop: () => {
      isStopping = true;
      for (const mailbox of waiting.keys()) wake(mailbox);
    },
  };
}

async function read(mailbox: MailboxTag, { store, loops, clock, events }: LongPollDeps): Promise<Message[]> {
  const heldBack = loops.heldBack(mailbox);
  const limit = MESSAGES_MAX + heldBack.length;
  const pending = await store.pending(mailbox, limit, clock.wallMs());
  const rest = pending.filter(({ id }) => !heldBack.includes(id));
  // What recipients break on comes when all the rest is acked.
  const due = rest.length > 0 ? rest : pending;
  const [head] = rest;
  if (head !== undefined && loops.noteHead(mailbox, head.id)) events.heldBack();
  let bytes = 0;
  return due.slice(0, MESSAGES_MAX).filter(({ body }, place) => {
    bytes += body.length;
    return place === 0 || bytes <= ANSWER_BYTES;
  });
}

async function acknowledge(context: PublicContext, deps: LongPollDeps): Promise<Result<undefined, Refusal>> {
  const owner = await ownerOf(context, deps);
  if (!owner.ok) return owner;
  const body = await readBody(context.env.incoming, ACK_BYTES_MAX);
  if (!body.ok) return body;
  const given = ackIn(body.value.toString('utf8'));
  if (given === undefined) return fail('request_malformed');
  const expiresMs = deps.clock.wallMs() + deps.ttlMsMax;
  const ack = createAck(owner.value.publicKey, given.signature, given.idBytes, expiresMs, deps.pepper);
  if (!ack.ok) return fail(ack.fault === 'malformed' ? 'request_malformed' : 'ack_signature_invalid');
  try {
    // Which of them this recipient was sent is not remembered from one request to the next.
    await deps.openAckGate()(ack.value, ack.value.ids);
  } catch (error) {
    // Otherwise the store is away, or nobody knows: the recipient acks again.
    return fail(error instanceof AcksTooFast ? 'acks_too_fast' : 'overloaded');
  }
  deps.loops.forget(ack.value.mailbox, ack.value.ids);
  deps.events.acked(ack.value.ids.length);
  return ok(undefined);
}

interface Owner {
  readonly publicKey: Uint8Array;
  readonly mailbox: MailboxTag;
}

async function ownerOf(
  context: PublicContext,
  { verify, pepper, mayReceive }: LongPollDeps,
): Promise<Result<Owner, Refusal>> {
  const given = context.env.incoming.headersDistinct['authorization'] ?? [];
  const token = /^Bearer (\S{1,1024})$/i.exec(given[0] ?? '')?.[1];
  const publicKey = token === undefined || given.length > 1 ? undefined : await verify(token);
  if (publicKey === undefined) return fail('mailbox_token_invalid');
  const mailbox = mailboxTagOf(mailboxIdOf(publicKey), pepper);
  return mayReceive(mailbox) ? ok({ publicKey, mailbox }) : fail('mailbox_token_too_fast');
}

function waitMsOf(text: string | undefined): number | undefined {
  if (text === undefined) return WAIT_SECONDS_MAX * 1000;
  return /^\d{1,2}$/.test(text) && Number(text) <= WAIT_SECONDS_MAX ? Number(text) * 1000 : undefined;
}

function asJson(message: Message, nowMs: number): PolledMessage {
  const { id, acceptedMs, expiresMs, coding, body } = message;
  return {
    id,
    acceptedSeconds: Math.floor(acceptedMs / 1000),
    secondsLeft: Math.max(0, Math.ceil((expiresMs - nowMs) / 1000)),
    coding,
    body: Buffer.from(body).toString('base64url'),
  };
}

function ackIn(text: string): { readonly idBytes: Uint8Array; readonly signature: Uint8Array } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { ids, signature } = value as Readonly<Record<string, unknown>>;
  if (!Array.isArray(ids) || typeof signature !== 'string') return undefined;
  if (!ids.every((id): id is string => typeof id === 'string' && /^[A-Za-z0-9_-]{22}$/.test(id))) {
    return undefined;
  }
  return {
    idBytes: Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url'))),
    signature: Buffer.from(signature, 'base64url'),
  };
}
