/**
 * One recipient: a WebSocket on one side, a session on the other. It does what the session says and reports back.
 *
 * A backlog is read from the store as fast as the socket takes it, so a slow recipient costs a step of it and not
 * the whole. A socket that does not read as fast as messages arrive is closed by name; nothing is buffered without
 * limit.
 */
import type { Duplex } from 'node:stream';
import type { RawData } from 'ws';
import type { Clock } from '../../system/clock.ts';
import { AcksTooFast, type BuryAck } from '../ack-gate.ts';
import type { SignedAck } from '../core/ack.ts';
import type { DeliveryLoops } from '../core/delivery-loops.ts';
import { CLIENT_FRAME_BYTES_MAX } from '../core/frame.ts';
import { FrameAllowance } from '../core/frame-allowance.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from '../core/mailbox.ts';
import type { Message, MessageId } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';
import {
  CLOSE_CODES,
  type CloseReason,
  Session,
  type SessionAction,
  type SessionConfig,
  type SessionEvent,
} from '../core/session.ts';
import type { OpenMailbox } from '../core/session-mailbox.ts';
import type { RelayEvents } from '../events.ts';
import type { MailboxTokenVerifier } from '../http/mailbox-token.ts';
import type { MessageStore } from '../ports.ts';
import type { BuriedElsewhere } from '../replication/buried-elsewhere.ts';

/** What a connection uses of a WebSocket (package ws). */
export interface RecipientSocket {
  readonly bufferedAmount: number;
  on(event: 'message', listener: (data: RawData, isBinary: boolean) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close' | 'ping' | 'pong', listener: () => void): unknown;
  send(data: string | Uint8Array, options: { readonly binary: boolean }, onSent: () => void): void;
  /** Stops reading it, until `resume`. */
  pause(): void;
  resume(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

/** What is below it: what is written between the two calls goes out in one write. */
export type Corked = Pick<Duplex, 'cork' | 'uncork'>;

export interface RecipientConnectionDeps {
  readonly session: SessionConfig;
  readonly loops: DeliveryLoops;
  readonly store: MessageStore;
  /** The gate through which the acks of one connection go. */
  readonly openAckGate: () => BuryAck;
  readonly buriedElsewhere: BuriedElsewhere;
  readonly verify: MailboxTokenVerifier;
  /** Takes from the rate of a mailbox that its owner asks for. */
  readonly mayReceive: (mailbox: MailboxTag) => boolean;
  readonly clock: Clock;
  readonly events: RelayEvents;
  /** Called once the recipient has proved these mailboxes to be its own. */
  readonly onOpen: (connection: RecipientConnection, tags: readonly MailboxTag[]) => void;
  readonly onClose: (
    connection: RecipientConnection,
    tags: readonly MailboxTag[],
    reason: CloseReason | 'gone',
  ) => void;
}

/** Nothing more is read from the store for a recipient while more bytes than this wait in its socket. */
const READ_BELOW_BYTES: number = 1024 * 1024;
/** Bytes that may wait for one slow recipient. */
const WAITING_BYTES_MAX: number = 4 * 1024 * 1024;
/** How long a closing handshake may take before the socket is cut, milliseconds. */
const CLOSE_WITHIN_MS = 2000;

/** Tokens of one hello that are verified in one turn of the event loop. */
const TOKENS_AT_ONCE = 8;

/** For a tick that finds nothing to do, of which each connection has two a second. */
const NOTHING: readonly SessionAction[] = [];

export class RecipientConnection {
  readonly #socket: RecipientSocket;
  readonly #deps: RecipientConnectionDeps;
  readonly #session: Session;
  /** Opened with the first ack. */
  #bury: BuryAck | undefined;
  readonly #below: Corked | undefined;
  #isCorked = false;
  /** Where it comes from, as the socket gave it. */
  readonly address: string | undefined;
  #tags: readonly MailboxTag[] = [];
  #closedFor: CloseReason | 'gone' = 'gone';
  /** Closed or closing: nothing is sent, and answers that still come are for nobody. */
  #isOver = false;
  readonly #allowance: FrameAllowance;
  /** It has sent too much and is not read now. */
  #cancelResumption: (() => void) | undefined;
  /** Reads of the store, one after the other. */
  #reads: Promise<void> = Promise.resolve();
  #onFlushed: (() => void) | undefined;
  #cancelTermination: (() => void) | undefined;
  readonly #flushed = (): void => this.#onFlushed?.();

  constructor(socket: RecipientSocket, deps: RecipientConnectionDeps, address?: string, below?: Corked) {
    this.address = address;
    this.#below = below;
    this.#socket = socket;
    this.#deps = deps;
    this.#session = new Session(deps.session, deps.loops, deps.clock.monotonicMs());
    this.#allowance = new FrameAllowance(deps.clock.monotonicMs());
    socket.on('message', (data: RawData, isBinary: boolean) => this.#received(data, isBinary));
    socket.on('ping', this.#paced);
    socket.on('pong', this.#paced);
    // ws closes by itself and reports it here; the close event follows.
    socket.on('error', (error) => {
      if (!this.#isOver) this.#closedFor = closeReasonOf(error);
      this.#isOver = true;
    });
    socket.on('close', () => {
      this.#isOver = true;
      this.#onFlushed?.();
      this.#cancelTermination?.();
      this.#cancelResumption?.();
      deps.events.sessionClosed(this.#closedFor);
      deps.onClose(this, this.#tags, this.#closedFor);
    });
    this.handle({ type: 'connected' });
  }

  /** Feeds the session and does what it says; gives what was done. */
  handle(event: SessionEvent): readonly SessionAction[] {
    if (this.#isOver) return NOTHING;
    const { clock } = this.#deps;
    const actions = this.#session.handle(event, clock.monotonicMs(), clock.wallMs());
    if (actions.length === 0) return NOTHING;
    const done: SessionAction[] = [];
    for (const action of actions) {
      this.#act(action);
      if (this.#isOver) break;
      done.push(action);
    }
    return done;
  }

  /**
   * Hears what happened to a mailbox just now, as far as that is known. A message goes to the recipient at once, unless
   * it is slow to read: then by a read, in its time. A retraction may name what it does not open: which messages are gone
   * is for the store to say.
   */
  changed(tag: MailboxTag, what?: Message | SignedAck): void {
    const isSlow = this.#socket.bufferedAmount > READ_BELOW_BYTES;
    if (what !== undefined && 'body' in what && !isSlow) this.handle({ type: 'stored', message: what });
    else if (what !== undefined && 'ids' in what && what.commitments === undefined) {
      this.handle({ type: 'buried', ack: what, done: true });
    } else this.handle({ type: 'changed', tag });
  }

  /** Counts a frame; after too many the socket is not read for a while. */
  readonly #paced = (): void => {
    const { clock, events } = this.#deps;
    const waitMs = this.#allowance.take(clock.monotonicMs());
    if (waitMs === 0) return;
    // Closing: it is not read any more, and cut if it does not end by itself.
    if (this.#isOver) return this.#socket.pause();
    if (this.#cancelResumption === undefined) {
      events.slowed();
      this.#socket.pause();
    }
    this.#cancelResumption?.();
    this.#cancelResumption = clock.after(waitMs, () => {
      this.#cancelResumption = undefined;
      this.#socket.resume();
    });
  };

  #received(data: RawData, isBinary: boolean): void {
    this.#paced();
    const bytes = Buffer.isBuffer(data)
      ? data
      : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]);
    if (bytes.length > CLIENT_FRAME_BYTES_MAX) this.#close('too_large');
    else this.handle(isBinary ? { type: 'binary', bytes } : { type: 'text', text: bytes.toString('utf8') });
  }

  #act(action: SessionAction): void {
    switch (action.type) {
      case 'send': {
        const isBytes = action.frame instanceof Uint8Array;
        const data = isBytes ? action.frame : JSON.stringify(action.frame);
        this.#cork();
        this.#socket.send(data, { binary: isBytes }, this.#flushed);
        if (this.#socket.bufferedAmount > WAITING_BYTES_MAX) this.#close('too_slow');
        break;
      }
      case 'verify':
        void this.#verify(action.tokens);
        break;
      case 'open':
        this.#tags = action.tags;
        this.#deps.events.sessionOpened();
        this.#deps.onOpen(this, action.tags);
        break;
      case 'fetch':
        this.#reads = this.#reads.then(() => this.#fetch(action.mailbox, action.tag, action.limit));
        break;
      case 'bury':
        void this.#acknowledge(action.ack, action.doubtful);
        break;
      case 'delivered':
        this.#allowance.earn(action.count);
        this.#deps.events.delivered(action.count);
        break;
      case 'ack_unread':
        this.#deps.events.refused('acks_too_fast');
        break;
      case 'held_back':
        this.#deps.events.heldBack();
        break;
      case 'close':
        this.#close(action.reason);
        break;
    }
  }

  /** Frames of one turn of the event loop go out together: each write of a TLS socket is a record and a system call. */
  #cork(): void {
    if (this.#below === undefined || this.#isCorked) return;
    this.#isCorked = true;
    this.#below.cork();
    process.nextTick(() => this.#uncork());
  }

  #uncork(): void {
    this.#isCorked = false;
    this.#below?.uncork();
  }

  async #verify(tokens: readonly string[]): Promise<void> {
    const mailboxes: OpenMailbox[] = [];
    // A few at a time: a hello has 64 of them, and others are there in between.
    for (let at = 0; at < tokens.length; at += TOKENS_AT_ONCE) {
      const some = tokens.slice(at, at + TOKENS_AT_ONCE);
      for (const publicKey of await Promise.all(some.map(this.#deps.verify))) {
        if (publicKey === undefined) return void this.handle({ type: 'verified', mailboxes: undefined });
        const tag = mailboxTagOf(mailboxIdOf(publicKey), this.#deps.session.pepper);
        mailboxes.push({ publicKey, tag });
      }
      if (this.#isOver) return;
    }
    if (mailboxes.every(({ tag }) => this.#deps.mayReceive(tag)))
      this.handle({ type: 'verified', mailboxes });
    else {
      this.#deps.events.refused('mailbox_token_too_fast');
      this.#close('overloaded');
    }
  }

  async #fetch(mailbox: number, tag: MailboxTag, limit: number): Promise<void> {
    const { store, clock, buriedElsewhere } = this.#deps;
    await this.#drained();
    if (this.#isOver) return;
    const messages = await store.pending(tag, limit, clock.wallMs()).catch(() => undefined);
    const unsure = this.#session.unsure(mailbox, messages ?? []);
    // The session leaves out what it hears to be buried while it reads.
    for (const ack of unsure.length === 0 ? [] : await buriedElsewhere(unsure.map(referenceTo))) {
      this.handle({ type: 'buried', ack, done: true });
    }
    this.handle({ type: 'fetched', mailbox, messages });
  }

  /** Resolves when little enough waits in the socket, or when it is closed. */
  async #drained(): Promise<void> {
    while (!this.#isOver && this.#socket.bufferedAmount > READ_BELOW_BYTES) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onFlushed = resolve;
      await promise;
    }
    this.#onFlushed = undefined;
  }

  async #acknowledge(ack: SignedAck, doubtful: readonly MessageId[]): Promise<void> {
    this.#bury ??= this.#deps.openAckGate();
    const done = await this.#bury(ack, doubtful).then(
      () => true,
      (error: unknown) => {
        if (error instanceof AcksTooFast) this.#deps.events.refused('acks_too_fast');
        return false;
      },
    );
    if (done) this.#deps.events.acked(ack.ids.length);
    this.handle({ type: 'buried', ack, done });
  }

  #close(reason: CloseReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#closedFor = reason;
    this.#socket.close(CLOSE_CODES[reason], reason);
    this.#cancelTermination = this.#deps.clock.after(CLOSE_WITHIN_MS, () => this.#socket.terminate());
  }
}

/** What a recipient did that breaks the WebSocket protocol itself (RFC 6455), or that its connection broke. */
function closeReasonOf(error: Error): CloseReason | 'gone' {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return 'too_large';
  return code.startsWith('WS_ERR_') ? 'malformed' : 'gone';
}
