/**
 * One recipient: a WebSocket on one side, a session on the other. It does what the session says and reports back.
 *
 * A socket that does not read as fast as messages arrive is closed by name; nothing is buffered without limit.
 */
import type { RawData, WebSocket } from 'ws';
import type { Clock } from '../../system/clock.ts';
import type { SignedAck } from '../core/ack.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from '../core/mailbox.ts';
import {
  CLOSE_CODES,
  type CloseReason,
  type OpenMailbox,
  Session,
  type SessionAction,
  type SessionConfig,
  type SessionEvent,
} from '../core/session.ts';
import type { RelayEvents } from '../events.ts';
import type { MailboxTokenVerifier } from '../http/mailbox-token.ts';
import type { MessageStore } from '../ports.ts';

export interface RecipientConnectionDeps {
  readonly session: SessionConfig;
  readonly store: MessageStore;
  /** Deletes and tells the other sites; rejects when that is not certain. */
  readonly bury: (ack: SignedAck) => Promise<void>;
  readonly verify: MailboxTokenVerifier;
  readonly clock: Clock;
  readonly events: RelayEvents;
  /** Called once the recipient has proved these mailboxes to be its own. */
  readonly onOpen: (connection: RecipientConnection, tags: readonly MailboxTag[]) => void;
  readonly onClose: (connection: RecipientConnection, tags: readonly MailboxTag[]) => void;
}

/** Bytes that may wait for one slow recipient. */
const WAITING_BYTES_MAX: number = 4 * 1024 * 1024;
/** How long a closing handshake may take before the socket is cut, milliseconds. */
const CLOSE_WITHIN_MS = 2000;

export class RecipientConnection {
  readonly #socket: WebSocket;
  readonly #deps: RecipientConnectionDeps;
  readonly #session: Session;
  #tags: readonly MailboxTag[] = [];
  #closedFor: CloseReason | 'gone' = 'gone';

  constructor(socket: WebSocket, deps: RecipientConnectionDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.#session = new Session(deps.session, deps.clock.monotonicMs());
    socket.on('message', (data: RawData, isBinary: boolean) => this.#received(data, isBinary));
    // ws closes with 1009 on a frame over the limit and reports it here; the close event follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      deps.events.sessionClosed(this.#closedFor);
      deps.onClose(this, this.#tags);
    });
    this.handle({ type: 'connected' });
  }

  /** Feeds the session and does what it says; gives what that was. */
  handle(event: SessionEvent): readonly SessionAction[] {
    const { clock } = this.#deps;
    const actions = this.#session.handle(event, clock.monotonicMs(), clock.wallMs());
    for (const action of actions) this.#act(action);
    return actions;
  }

  #received(data: RawData, isBinary: boolean): void {
    const bytes = Buffer.isBuffer(data)
      ? data
      : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]);
    this.handle(isBinary ? { type: 'binary', bytes } : { type: 'text', text: bytes.toString('utf8') });
  }

  #act(action: SessionAction): void {
    switch (action.type) {
      case 'send': {
        const isBytes = action.frame instanceof Uint8Array;
        this.#socket.send(isBytes ? action.frame : JSON.stringify(action.frame), { binary: isBytes });
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
        void this.#fetch(action.mailbox, action.tag, action.limit);
        break;
      case 'bury':
        void this.#bury(action.ack);
        break;
      case 'delivered':
        this.#deps.events.delivered(action.count);
        break;
      case 'close':
        this.#close(action.reason);
        break;
    }
  }

  async #verify(tokens: readonly string[]): Promise<void> {
    const mailboxes: OpenMailbox[] = [];
    for (const publicKey of await Promise.all(tokens.map(this.#deps.verify))) {
      if (publicKey === undefined) {
        this.handle({ type: 'verified', mailboxes: undefined });
        return;
      }
      mailboxes.push({ publicKey, tag: mailboxTagOf(mailboxIdOf(publicKey), this.#deps.session.pepper) });
    }
    this.handle({ type: 'verified', mailboxes });
  }

  async #fetch(mailbox: number, tag: MailboxTag, limit: number): Promise<void> {
    const { store, clock } = this.#deps;
    const messages = await store.pending(tag, limit, clock.wallMs()).catch(() => undefined);
    this.handle({ type: 'fetched', mailbox, messages });
  }

  async #bury(ack: SignedAck): Promise<void> {
    const done = await this.#deps.bury(ack).then(
      () => true,
      () => false,
    );
    if (done) this.#deps.events.acked(ack.ids.length);
    this.handle({ type: 'buried', ack, done });
  }

  #close(reason: CloseReason): void {
    this.#closedFor = reason;
    this.#socket.close(CLOSE_CODES[reason], reason);
    this.#deps.clock.after(CLOSE_WITHIN_MS, () => this.#socket.terminate());
  }
}
