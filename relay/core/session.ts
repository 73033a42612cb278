/**
 * One recipient's connection, from the welcome to the close, as a state machine without a socket: events go in,
 * what to do comes out. The adapter does it and knows nothing of the rules.
 *
 * Delivery is by what is not acked, never by a cursor: the head of a mailbox is read again whenever it may have
 * changed, and what is already on its way is left out. A message that another site brings late, and that sorts
 * before others, is therefore found like any other.
 */
import { createAck, type SignedAck } from './ack.ts';
import type { DeliveryLoops } from './delivery-loops.ts';
import {
  type ClientFrame,
  encodeMessageFrame,
  parseBinaryFrame,
  parseTextFrame,
  type ServerFrame,
} from './frame.ts';
import type { MailboxTag } from './mailbox.ts';
import type { Message, MessageId } from './message.ts';
import {
  type Mailbox,
  markChanged,
  mayBeFetched,
  type OpenMailbox,
  precedes,
  publicKeyOf,
  readFromStart,
  type Sent,
} from './session-mailbox.ts';

/** How often a session is ticked, milliseconds: a beat that would be late at the next tick goes out at this one. */
export const TICK_MS = 500;

export interface SessionConfig {
  readonly site: string;
  readonly audience: string;
  readonly heartbeatMs: number;
  /** How long a connection may take to say hello. */
  readonly helloWithinMs: number;
  /** Wake-ups may be lost: each mailbox is looked at again after this long. */
  readonly lookAgainMs: number;
  /** How long an ack for a message of unknown expiry is remembered. */
  readonly ttlMsMax: number;
  readonly pepper: Uint8Array;
  /**
   * Takes from what the relay spends on signatures of acks that name nothing which is on its way to who sent them. Anybody can
   * make such acks, or send one again and again, and checking costs far more than sending.
   */
  readonly mayVerifyDoubtful: (nowMs: number) => boolean;
}

export type SessionEvent =
  | { readonly type: 'connected' }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'binary'; readonly bytes: Uint8Array }
  /** The answer to `verify`; undefined when one of the tokens is not valid. */
  | { readonly type: 'verified'; readonly mailboxes: readonly OpenMailbox[] | undefined }
  /** The answer to `fetch`: the head of the mailbox, at most as many as asked for; undefined on failure. */
  | { readonly type: 'fetched'; readonly mailbox: number; readonly messages: readonly Message[] | undefined }
  /** The answer to `bury`. */
  | { readonly type: 'buried'; readonly ack: SignedAck; readonly done: boolean }
  | { readonly type: 'changed'; readonly tag: MailboxTag }
  /** A message was stored just now; unlike `changed`, it says all that there is to know. */
  | { readonly type: 'stored'; readonly message: Message }
  /** A message that is not stored: it goes out now or never (TTL 0, RFC 8030 §5.2). */
  | { readonly type: 'transient'; readonly message: Message }
  | { readonly type: 'tick' }
  /** The relay stops: this recipient is served for `withinMs` more, and told which origins to go to. */
  | { readonly type: 'draining'; readonly withinMs: number; readonly alternates: readonly string[] };

/** Names of the close codes in docs/protocol.md. */
export const CLOSE_CODES = {
  draining: 1012,
  overloaded: 1013,
  malformed: 4400,
  unauthorised: 4401,
  timeout: 4408,
  too_large: 4413,
  too_slow: 4429,
} as const;
export type CloseReason = keyof typeof CLOSE_CODES;

export type SessionAction =
  | { readonly type: 'send'; readonly frame: ServerFrame | Uint8Array }
  | { readonly type: 'verify'; readonly tokens: readonly string[] }
  | { readonly type: 'fetch'; readonly mailbox: number; readonly tag: MailboxTag; readonly limit: number }
  /** `doubtful`: those of its ids that were not sent on this connection, or acked on it already. */
  | { readonly type: 'bury'; readonly ack: SignedAck; readonly doubtful: readonly MessageId[] }
  /** An ack was not looked at: nothing that it names is on its way, and too many such come. What waits is sent all the same. */
  | { readonly type: 'ack_unread' }
  | { readonly type: 'open'; readonly tags: readonly MailboxTag[] }
  | { readonly type: 'delivered'; readonly count: number }
  /** A message that recipients break on goes to the end of its mailbox from now on. */
  | { readonly type: 'held_back' }
  | { readonly type: 'close'; readonly reason: CloseReason };

/** Bytes sent for one fetch, so that what is handed to a socket at once fits into its buffer. */
const STEP_BYTES = 1024 * 1024;

/** Late messages that a look at a full window goes beyond. */
const HIDING_MAX = 512;

/** Most recipients are idle most of the time: what such a one does not need is shared, and made when it is needed. */
const NOTHING: readonly SessionAction[] = [];
const NOTHING_SENT: Map<string, Sent> = new Map();
const BEAT: SessionAction = { type: 'send', frame: { t: 'beat' } };

type Phase = 'hello' | 'verifying' | 'open' | 'closed';

export class Session {
  readonly #config: SessionConfig;
  readonly #loops: DeliveryLoops;
  readonly #connectedMs: number;
  #phase: Phase = 'hello';
  #window = 0;
  #mailboxes: Mailbox[] = [];
  /** Sent and not acked, by message id. Only `#noteSent` adds to it. */
  #onTheWay: Map<string, Sent> = NOTHING_SENT;
  #sentMs: number;
  #heardMs: number;
  /** When a relay that drains closes this connection. */
  #leaveMs: number = Number.POSITIVE_INFINITY;

  /** Times are milliseconds of one monotonic clock, except where an event carries a wall clock. */
  constructor(config: SessionConfig, loops: DeliveryLoops, nowMs: number) {
    this.#config = config;
    this.#loops = loops;
    this.#connectedMs = nowMs;
    this.#sentMs = nowMs;
    this.#heardMs = nowMs;
  }

  get onTheWay(): number {
    return this.#onTheWay.size;
  }

  /**
   * Of messages just read, those that other sites may know to be acked: all that are not on their way, until the mailbox was
   * read to its end once. Whoever stays connected remembers what it acked; only who has just come may have forgotten.
   */
  unsure(mailbox: number, messages: readonly Message[]): readonly Message[] {
    if (this.#mailboxes[mailbox]?.emptySaid !== false) return [];
    return messages.filter(({ id }) => !this.#onTheWay.has(id));
  }

  handle(event: SessionEvent, nowMs: number, wallMs: number): readonly SessionAction[] {
    if (this.#phase === 'closed') return NOTHING;
    const actions = this.#step(event, nowMs, wallMs);
    if (actions.length === 0) return NOTHING;
    if (actions.some(({ type }) => type === 'send')) this.#sentMs = nowMs;
    if (actions.some(({ type }) => type === 'close')) this.#phase = 'closed';
    return actions;
  }

  #step(event: SessionEvent, nowMs: number, wallMs: number): readonly SessionAction[] {
    switch (event.type) {
      case 'connected': {
        const { site, audience, heartbeatMs } = this.#config;
        return [{ type: 'send', frame: { t: 'welcome', site, audience, heartbeatMs } }];
      }
      case 'text':
      case 'binary': {
        this.#heardMs = nowMs;
        const parsed = event.type === 'text' ? parseTextFrame(event.text) : parseBinaryFrame(event.bytes);
        return parsed.ok
          ? this.#frame(parsed.value, nowMs, wallMs)
          : [{ type: 'close', reason: 'malformed' }];
      }
      case 'verified':
        return this.#verified(event.mailboxes, nowMs);
      case 'fetched':
        return this.#fetched(event.mailbox, event.messages, nowMs, wallMs);
      case 'buried':
        if (!event.done) return [{ type: 'close', reason: 'overloaded' }];
        this.#buried(event.ack);
        return this.#fetchStale();
      case 'changed':
        for (const mailbox of this.#mailboxes) if (mailbox.tag === event.tag) markChanged(mailbox);
        return this.#fetchStale();
      case 'stored':
        return this.#stored(event.message, wallMs);
      case 'transient':
        return this.#transient(event.message, wallMs);
      case 'tick':
        return this.#tick(nowMs);
      case 'draining':
        return this.#drain(event.withinMs, event.alternates, nowMs);
    }
  }

  #drain(withinMs: number, alternates: readonly string[], nowMs: number): readonly SessionAction[] {
    if (this.#phase !== 'open') return [{ type: 'close', reason: 'draining' }];
    this.#leaveMs = nowMs + withinMs;
    return [{ type: 'send', frame: { t: 'drain', withinMs, alternates } }];
  }

  #frame(frame: ClientFrame, nowMs: number, wallMs: number): readonly SessionAction[] {
    switch (frame.type) {
      case 'beat':
        return [];
      case 'hello':
        if (this.#phase !== 'hello') return [{ type: 'close', reason: 'malformed' }];
        this.#phase = 'verifying';
        this.#window = frame.window;
        return [{ type: 'verify', tokens: frame.tokens }];
      case 'ack':
        return [this.#acked(frame, nowMs, wallMs)];
    }
  }

  #acked(frame: ClientFrame & { readonly type: 'ack' }, nowMs: number, wallMs: number): SessionAction {
    const mailbox = this.#mailboxes[frame.mailbox];
    if (mailbox === undefined) return { type: 'close', reason: 'malformed' };
    const { pepper, mayVerifyDoubtful } = this.#config;
    const { expiresMs, isAnyOnTheWay } = this.#lookUp(frame.idBytes, wallMs);
    if (!isAnyOnTheWay && !mayVerifyDoubtful(nowMs)) return { type: 'ack_unread' };
    const ack = createAck(publicKeyOf(mailbox), frame.signature, frame.idBytes, expiresMs, pepper);
    if (!ack.ok) return { type: 'close', reason: ack.fault === 'malformed' ? 'malformed' : 'unauthorised' };
    const doubtful: MessageId[] = [];
    for (const id of ack.value.ids) {
      const sent = this.#onTheWay.get(id);
      if (sent?.isAcked === false) sent.isAcked = true;
      else doubtful.push(id);
    }
    return { type: 'bury', ack: ack.value, doubtful };
  }

  /** When the last of the acked messages expires; unknown ones count as the longest-lived that can exist. */
  #lookUp(
    idBytes: Uint8Array,
    wallMs: number,
  ): { readonly expiresMs: number; readonly isAnyOnTheWay: boolean } {
    const unknownMs = wallMs + this.#config.ttlMsMax;
    let expiresMs = 0;
    let isAnyOnTheWay = false;
    for (let offset = 0; offset < idBytes.length; offset += 16) {
      const id = Buffer.from(idBytes.subarray(offset, offset + 16)).toString('base64url');
      const sent = this.#onTheWay.get(id);
      isAnyOnTheWay ||= sent?.isAcked === false;
      expiresMs = Math.max(expiresMs, sent?.expiresMs ?? unknownMs);
    }
    return { expiresMs, isAnyOnTheWay };
  }

  #verified(mailboxes: readonly OpenMailbox[] | undefined, nowMs: number): readonly SessionAction[] {
    if (mailboxes === undefined) return [{ type: 'close', reason: 'unauthorised' }];
    this.#phase = 'open';
    this.#mailboxes = mailboxes.map((mailbox) => readFromStart(mailbox, nowMs));
    // Listening begins before the first read, so nothing falls between the two.
    return [
      { type: 'open', tags: mailboxes.map(({ tag }) => tag) },
      { type: 'send', frame: { t: 'ready' } },
      ...this.#fetchStale(),
    ];
  }

  /**
   * Asks for the head of each mailbox that may hold something new. A little room in the window can wait for more
   * until the next tick, so that acks one by one do not cause reads one by one. Without room a mailbox is read on a
   * tick, if it changed, to learn which of the messages on the way were acked on another connection.
   */
  #fetchStale(after: 'event' | 'step' | 'tick' = 'event'): readonly SessionAction[] {
    if (this.#phase !== 'open' || !this.#mailboxes.some(mayBeFetched)) return NOTHING;
    const room = this.#window - this.#onTheWay.size;
    const hasRoom = room >= (after === 'event' ? Math.max(1, this.#window / 4) : 1);
    const actions: SessionAction[] = [];
    for (const [index, mailbox] of this.#mailboxes.entries()) {
      if (!mayBeFetched(mailbox)) continue;
      const onTheWay = this.#onTheWayTo(mailbox.tag);
      if (!hasRoom && !(after === 'tick' && mailbox.changed && onTheWay > 0)) continue;
      mailbox.stale = false;
      mailbox.changed = false;
      mailbox.fetching = true;
      const hiding = hasRoom ? 0 : mailbox.hiding;
      mailbox.asked = onTheWay + room + this.#loops.heldBack(mailbox.tag).length + hiding;
      actions.push({ type: 'fetch', mailbox: index, tag: mailbox.tag, limit: mailbox.asked });
    }
    return actions;
  }

  #onTheWayTo(tag: MailboxTag): number {
    let count = 0;
    for (const { mailbox } of this.#onTheWay.values()) if (this.#mailboxes[mailbox]?.tag === tag) count += 1;
    return count;
  }

  #fetched(
    index: number,
    messages: readonly Message[] | undefined,
    nowMs: number,
    wallMs: number,
  ): readonly SessionAction[] {
    const mailbox = this.#mailboxes[index];
    if (mailbox === undefined || !mailbox.fetching) return [];
    mailbox.fetching = false;
    mailbox.lookedAtMs = nowMs;
    // The store is away: not the recipient's fault. Its heartbeat goes on; the next tick looks again.
    if (messages === undefined) {
      mailbox.lookedAtMs = nowMs - this.#config.lookAgainMs + this.#config.heartbeatMs;
      return [];
    }
    const actions: SessionAction[] = [];
    let delivered = 0;
    let bytes = 0;
    // As many as asked for: there may be more behind them.
    let whole = messages.length < mailbox.asked;
    this.#forgetBuriedElsewhere(index, messages, whole);
    const isHidden = !whole && !messages.some(({ id }) => this.#onTheWay.has(id));
    const { due, isHeadHeldBack } = this.#inOrder(mailbox, messages, whole);
    if (isHeadHeldBack) actions.push({ type: 'held_back' });
    for (const message of due) {
      if (this.#onTheWay.size >= this.#window || bytes >= STEP_BYTES) {
        whole = false;
        break;
      }
      const frame = encodeMessageFrame(index, message, wallMs);
      this.#noteSent(index, message);
      actions.push({ type: 'send', frame });
      bytes += frame.length;
      delivered += 1;
    }
    mailbox.ackedMeanwhile = undefined;
    // What is on the way may be gone, and keeps the place of these: the next look goes beyond them.
    mailbox.hiding = isHidden && delivered === 0 && messages.length < HIDING_MAX ? messages.length : 0;
    if (mailbox.hiding > 0) mailbox.changed = true;
    if (delivered > 0) actions.push({ type: 'delivered', count: delivered });
    if (!whole) mailbox.stale = true;
    else if (!mailbox.emptySaid && !mailbox.isHolding) {
      mailbox.emptySaid = true;
      actions.push({ type: 'send', frame: { t: 'empty', mailbox: index } });
    }
    return [...actions, ...this.#fetchStale(bytes >= STEP_BYTES ? 'step' : 'event')];
  }

  /**
   * What of the head of a mailbox is to be sent. What is held back comes when all the rest is acked: a recipient that
   * breaks on it has then nothing to lose.
   */
  #inOrder(
    mailbox: Mailbox,
    messages: readonly Message[],
    isAll: boolean,
  ): { readonly due: readonly Message[]; readonly isHeadHeldBack: boolean } {
    const { tag } = mailbox;
    const isAcked = (id: MessageId): boolean => mailbox.ackedMeanwhile?.has(id) === true;
    const fresh = messages.filter(({ id }) => !this.#onTheWay.has(id) && !isAcked(id));
    const isHeldBack = ({ id }: Message): boolean => this.#loops.heldBack(tag).includes(id);
    const [head] = fresh.filter((message) => !isHeldBack(message));
    const isHeadHeldBack = head !== undefined && !mailbox.hasBegun && this.#loops.noteHead(tag, head.id);
    if (fresh.length > 0) mailbox.hasBegun = true;
    const heldBack = this.#loops.heldBack(tag);
    mailbox.isHolding = false;
    if (heldBack.length === 0) return { due: fresh, isHeadHeldBack };
    const rest = fresh.filter((message) => !isHeldBack(message));
    const last = fresh.filter(isHeldBack);
    if (last.length === 0 || (isAll && rest.length === 0 && this.#onTheWayTo(tag) === 0)) {
      if (last.length > 1) this.#loops.rotate(tag);
      const place = ({ id }: Message): number => heldBack.indexOf(id);
      return { due: [...rest, ...last.sort((a, b) => place(a) - place(b))], isHeadHeldBack };
    }
    mailbox.isHolding = true;
    return { due: rest, isHeadHeldBack };
  }

  #noteSent(mailbox: number, { id, acceptedMs, expiresMs }: Message): void {
    if (this.#onTheWay === NOTHING_SENT) this.#onTheWay = new Map();
    this.#onTheWay.set(id, { id, mailbox, acceptedMs, expiresMs, isAcked: false });
  }

  /**
   * Sends it without a read when all that came before it was sent; otherwise it is found by the next read. The first
   * of a connection is always read, so that a message that recipients break on is noticed.
   */
  #stored(message: Message, wallMs: number): readonly SessionAction[] {
    const index = this.#mailboxes.findIndex(({ tag }) => tag === message.mailbox);
    const mailbox = this.#mailboxes[index];
    if (mailbox === undefined || this.#onTheWay.has(message.id)) return [];
    const isCaughtUp = mailbox.hasBegun && !mailbox.isHolding && !mailbox.stale && !mailbox.fetching;
    if (!isCaughtUp || this.#onTheWay.size >= this.#window) {
      markChanged(mailbox);
      return this.#fetchStale();
    }
    this.#noteSent(index, message);
    return [
      { type: 'send', frame: encodeMessageFrame(index, message, wallMs) },
      { type: 'delivered', count: 1 },
    ];
  }

  #transient(message: Message, wallMs: number): readonly SessionAction[] {
    const index = this.#mailboxes.findIndex(({ tag }) => tag === message.mailbox);
    if (index < 0 || this.#onTheWay.size >= this.#window) return [];
    this.#noteSent(index, message);
    return [
      { type: 'send', frame: encodeMessageFrame(index, message, wallMs) },
      { type: 'delivered', count: 1 },
    ];
  }

  #buried(ack: SignedAck): void {
    for (const mailbox of this.#mailboxes) {
      if (mailbox.tag !== ack.mailbox || !mailbox.fetching) continue;
      mailbox.ackedMeanwhile ??= new Set();
      for (const id of ack.ids) mailbox.ackedMeanwhile.add(id);
    }
    for (const id of ack.ids) this.#onTheWay.delete(id);
    this.#loops.forget(ack.mailbox, ack.ids);
    for (const mailbox of this.#mailboxes) {
      if (mailbox.isHolding && this.#onTheWayTo(mailbox.tag) === 0) mailbox.stale = true;
    }
  }

  /**
   * What was sent here but acked on another connection gives its place in the window back: it is missing from the
   * head of the mailbox. Behind the last message read nobody knows, unless that was all there is.
   */
  #forgetBuriedElsewhere(index: number, read: readonly Message[], isAll: boolean): void {
    const present = new Set<string>(read.map(({ id }) => id));
    const last = read.at(-1);
    for (const sent of this.#onTheWay.values()) {
      if (sent.mailbox !== index || present.has(sent.id)) continue;
      if (isAll || (last !== undefined && precedes(sent, last))) this.#onTheWay.delete(sent.id);
    }
  }

  #tick(nowMs: number): readonly SessionAction[] {
    const { heartbeatMs, helloWithinMs, lookAgainMs } = this.#config;
    const late = this.#phase !== 'open' && nowMs - this.#connectedMs > helloWithinMs;
    if (late || nowMs - this.#heardMs > 3 * heartbeatMs) return [{ type: 'close', reason: 'timeout' }];
    if (nowMs >= this.#leaveMs) return [{ type: 'close', reason: 'draining' }];
    for (const mailbox of this.#mailboxes) {
      if (nowMs - mailbox.lookedAtMs >= lookAgainMs) markChanged(mailbox);
    }
    if (this.#onTheWay.size === 0) this.#onTheWay = NOTHING_SENT;
    const isBeatDue = this.#phase === 'open' && nowMs - this.#sentMs > heartbeatMs - TICK_MS;
    const fetches = this.#fetchStale('tick');
    return isBeatDue ? [BEAT, ...fetches] : fetches;
  }
}
