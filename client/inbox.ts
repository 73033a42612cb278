/**
 * Between the sockets and the application: each message once, in the order of first arrival, decrypted, and acked
 * only after the application has it.
 *
 * A copy that cannot be decrypted proves nothing about the message: one damaged or dishonest site could send rubbish
 * under a real id. So the message waits for the copy of another provider, and only when `copiesNeeded` providers
 * agree is it acked unread and counted; it would come back for ever otherwise.
 */
import type { Clock } from '../system/clock.ts';
import type { Acks } from './acks.ts';
import { DecryptionError } from './errors.ts';
import type { MessageFrame } from './frames.ts';
import type { Link } from './link.ts';
import type { Mailbox } from './mailbox.ts';
import { createSeen, type Seen } from './seen.ts';

export interface ReceivedMessage {
  readonly mailbox: Mailbox;
  /** The same at every site and on every delivery. */
  readonly id: string;
  /** Seconds since 1970, by the clock of the relay that accepted it. */
  readonly acceptedSeconds: number;
  /** `aes128gcm`: `content` is decrypted. Any other: `content` is the body as it was sent. */
  readonly coding: string;
  readonly content: Uint8Array;
  /** Tells the fleet to delete it. Without effect when called again. */
  ack(): void;
}

export const INBOX_EVENTS = ['delivered', 'duplicate', 'copy_undecryptable', 'undecryptable'] as const;
export type InboxEvent = (typeof INBOX_EVENTS)[number];

export interface InboxOptions {
  readonly mailboxes: readonly Mailbox[];
  readonly clock: Clock;
  readonly acks: Acks;
  readonly note: (event: InboxEvent, provider: string) => void;
  /** Ids that are remembered. */
  readonly idsMax: number;
  /** Messages that wait for the application. */
  readonly queueMax: () => number;
  /** Providers that must have sent an undecryptable copy before the message is given up. */
  readonly copiesNeeded: () => number;
}

/** A message that has not been acked yet. `spoilt`: no copy so far could be decrypted. */
interface Pending {
  readonly mailbox: number;
  readonly id: string;
  readonly expiresMs: number;
  state: 'opening' | 'open' | 'spoilt' | 'acked';
  /** Whether a memory that is short of room may drop it: the relay sends it again. */
  isForgettable: boolean;
  /** Where copies came from. */
  readonly links: Set<Link>;
  /** Copies that have not been tried yet. */
  readonly copies: { readonly frame: MessageFrame; readonly provider: string }[];
  /** Providers whose copy could not be decrypted. */
  readonly spoiltBy: Set<string>;
}

/** All that is left of a message after its ack. */
interface Acked {
  readonly state: 'done';
  readonly isForgettable: true;
  readonly expiresMs: number;
}

/** A copy more than this is not kept while another is being decrypted; its relay sends it again. */
const COPIES_MAX = 4;
/** Beyond its expiry an id is remembered for so long, milliseconds: clocks differ. */
const EXPIRY_SLACK_MS = 120_000;

export class Inbox {
  readonly #options: InboxOptions;
  readonly #seen: Seen<Pending | Acked>;
  readonly #queue: Promise<ReceivedMessage | undefined>[] = [];
  #wake: () => void = () => undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#seen = createSeen(options.idsMax);
  }

  /** False when there is no room: the link must end, so that the relay sends the message again. */
  arrived(link: Link, frame: MessageFrame): boolean {
    const { acks, clock, note, queueMax } = this.#options;
    const { provider } = link.site;
    const known = this.#seen.get(keyOf(frame));
    if (known !== undefined) note('duplicate', provider);
    if (known?.state === 'done') {
      acks.add(frame.mailbox, frame.id, [link]);
      return true;
    }
    const isNew = known === undefined || known.state === 'spoilt';
    if (isNew && this.#queue.length >= queueMax()) return false;
    const message = known ?? createPending(frame, clock.wallMs());
    message.links.add(link);
    if (message.state !== 'open' && message.copies.length < COPIES_MAX) {
      message.copies.push({ frame, provider });
    }
    if (known === undefined) this.#seen.set(keyOf(frame), message, clock.wallMs());
    if (isNew) {
      message.state = 'opening';
      message.isForgettable = false;
      this.#queue.push(this.#open(message));
      this.#wake();
    }
    return true;
  }

  /** The next message, or undefined as soon as the signal aborts. */
  async take(signal: AbortSignal): Promise<ReceivedMessage | undefined> {
    while (!signal.aborted) {
      const message = await this.#queue.shift();
      if (message !== undefined) {
        this.#options.note('delivered', 'any');
        return message;
      }
      if (this.#queue.length > 0 || signal.aborted) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = (): void => resolve();
      this.#wake = wake;
      signal.addEventListener('abort', wake, { once: true });
      await promise;
      signal.removeEventListener('abort', wake);
    }
    return undefined;
  }

  /** Tries the copies, those included that arrive meanwhile, until one can be read. */
  async #open(message: Pending): Promise<ReceivedMessage | undefined> {
    const mailbox = this.#options.mailboxes[message.mailbox];
    for (let copy = message.copies.shift(); copy !== undefined; copy = message.copies.shift()) {
      const content = mailbox === undefined ? undefined : await contentOf(copy.frame, mailbox);
      if (mailbox !== undefined && content !== undefined) {
        message.state = 'open';
        message.copies.length = 0;
        const { acceptedSeconds, coding, id } = copy.frame;
        return { mailbox, id, acceptedSeconds, coding, content, ack: () => this.#ack(message) };
      }
      message.spoiltBy.add(copy.provider);
      this.#options.note('copy_undecryptable', copy.provider);
    }
    message.state = 'spoilt';
    message.isForgettable = true;
    if (message.spoiltBy.size >= this.#options.copiesNeeded()) {
      this.#options.note('undecryptable', 'any');
      this.#ack(message);
    }
    return undefined;
  }

  #ack(message: Pending): void {
    if (message.state === 'acked') return;
    message.state = 'acked';
    this.#options.acks.add(message.mailbox, message.id, message.links);
    const acked: Acked = { state: 'done', isForgettable: true, expiresMs: message.expiresMs };
    this.#seen.set(keyOf(message), acked, this.#options.clock.wallMs());
  }
}

function keyOf(message: Pick<MessageFrame, 'mailbox' | 'id'>): string {
  return `${message.mailbox} ${message.id}`;
}

function createPending(frame: MessageFrame, nowMs: number): Pending {
  return {
    mailbox: frame.mailbox,
    id: frame.id,
    expiresMs: nowMs + frame.secondsLeft * 1000 + EXPIRY_SLACK_MS,
    state: 'opening',
    isForgettable: false,
    links: new Set(),
    copies: [],
    spoiltBy: new Set(),
  };
}

async function contentOf(frame: MessageFrame, mailbox: Mailbox): Promise<Uint8Array | undefined> {
  if (frame.coding !== 'aes128gcm') return frame.body;
  try {
    return await mailbox.decrypt(frame.body);
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}
