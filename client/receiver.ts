/**
 * The receiver: keeps sockets warm at several providers, so that the loss of one is not noticed, and gives the
 * application each message once.
 *
 * What is not acked is sent again by every relay, so a socket may be dropped at any moment without losing anything;
 * all the care here goes into noticing a dead one, going elsewhere, and not doing so all at once.
 */
import type { BackoffConfig } from '../system/backoff.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { ACKS_BY_DEFAULT, type AckConfig, createAcks } from './acks.ts';
import { UsageError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import { ACK_IDS_MAX, MAILBOXES_MAX, WINDOW_MAX } from './frames.ts';
import { INBOX_EVENTS, Inbox, type ReceivedMessage } from './inbox.ts';
import { LINK_ENDS, type Link, type LinkEnd } from './link.ts';
import type { Mailbox } from './mailbox.ts';
import { createTally, type EventListener } from './tally.ts';
import type { Transport } from './transport.ts';
import { WarmSockets, type WarmSocketsOptions } from './warm-sockets.ts';

/** The rest of it is for what relays send while acks are on their way. */
const ACKED_SHARE_OF_WINDOW = 3 / 4;
const RECEIVER_EVENTS: readonly ReceiverEvent[] = [
  ...INBOX_EVENTS,
  'ready',
  'polling',
  'empty',
  ...LINK_ENDS.map((end) => `ended_${end}` as const),
];
/**
 * What a receiver counts; `ready` is a link that came up, `polling` one that is no WebSocket but a long-poll, and
 * `ended_…` why a link ended.
 * @public
 */
export type ReceiverEvent =
  | (typeof INBOX_EVENTS)[number]
  | 'ready'
  | 'polling'
  | 'empty'
  | `ended_${LinkEnd}`;

export interface ReceiverOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly fleet: Fleet;
  /** 1 to 64. */
  readonly mailboxes: readonly Mailbox[];
  /** Sockets, each at another provider; 2 by default, and never more than there are providers. */
  readonly warm?: number;
  readonly preferredProvider?: string;
  /**
   * `taken`, the default: a message is acked when the application asks for the next one. `explicit`: only when
   * the application calls `ack()`.
   */
  readonly ackWhen?: 'taken' | 'explicit';
  /** Messages that each relay may send ahead of the acks, 1 to 256; 64 by default. */
  readonly window?: number;
  /** From dialling a site to ready, in milliseconds; 4000 by default. */
  readonly openWithinMs?: number;
  /** 250 ms doubling to 15 s by default. */
  readonly backoff?: BackoffConfig;
  /**
   * While no WebSocket gets through and messages come by long-poll: how long until one is tried again. 30 s doubling to
   * 15 minutes by default.
   */
  readonly socketRetry?: BackoffConfig;
  /** The ack of a lone message waits so long for others, in milliseconds; 20 by default. */
  readonly ackBatchForMs?: number;
  /**
   * Acks are gathered for half of that to that long while messages follow each other, in milliseconds, and five times as long
   * while many do; 250 by default.
   */
  readonly ackBatchForMsMax?: number;
  /** Or until there are half of that to that many, 1 to 512; 96 by default, and no more than three quarters of the window. */
  readonly ackBatchIdsMax?: number;
  /** How many acked ids are remembered, to tell late copies; 65,536 by default. */
  readonly idsMax?: number;
  readonly onEvent?: EventListener<ReceiverEvent>;
}

export interface Receiver {
  /**
   * The messages, one at a time, until the signal aborts or the loop is left. Leaving the loop by `break` does not
   * ack the message in hand. Only one such loop at a time, else `UsageError` (already_receiving).
   */
  messages(signal: AbortSignal): AsyncGenerator<ReceivedMessage, void, undefined>;
  /** How many links are ready now: WebSockets, long-polls, or both together. */
  readyCount(kind?: Link['kind']): number;
  /** Replaces the fleet, after its sites have changed; sockets at sites that are gone are closed. */
  useFleet(fleet: Fleet): void;
  readonly counts: Readonly<Record<ReceiverEvent, number>>;
}

/** Throws `UsageError` (options_out_of_range). */
export function createReceiver(options: ReceiverOptions): Receiver {
  const { clock, mailboxes } = options;
  const window = windowOf(options);
  const fits =
    mailboxes.length >= 1 && mailboxes.length <= MAILBOXES_MAX && window >= 1 && window <= WINDOW_MAX;
  if (!fits || options.fleet.sites.length === 0) throw new UsageError('options_out_of_range');
  const tally = createTally(RECEIVER_EVENTS, options.onEvent);
  let inbox: Inbox | undefined;
  const sockets = new WarmSockets({
    ...socketOptionsOf(options),
    onReady: ({ kind, site }) => {
      tally.note('ready', site.provider);
      if (kind === 'poll') tally.note('polling', site.provider);
    },
    onMessage: (link, frame) => {
      if (inbox?.arrived(link, frame) === false) link.end('queue_full');
    },
    onEmpty: ({ site }) => tally.note('empty', site.provider),
    onEnd: (site, end) => tally.note(`ended_${end}`, site.provider),
  });

  const messages: Receiver['messages'] = (signal) => {
    const leaving = new AbortController();
    return leftAtOnce(receive(AbortSignal.any([signal, leaving.signal])), leaving);
  };
  async function* receive(signal: AbortSignal): AsyncGenerator<ReceivedMessage, void, undefined> {
    if (inbox !== undefined) throw new UsageError('already_receiving');
    const acks = createAcks(mailboxes, options, ackConfigOf(options), () => sockets.readyLinks());
    const current = new Inbox({
      mailboxes,
      clock,
      acks,
      note: tally.note,
      idsMax: options.idsMax ?? 65_536,
      queueMax: () => 2 * sockets.warm * window,
      copiesNeeded: () => sockets.warm,
    });
    inbox = current;
    const stopping = new AbortController();
    const broken = new AbortController();
    const running = sockets.run(stopping.signal).catch((error: unknown) => broken.abort(error));
    const ending = AbortSignal.any([signal, broken.signal]);
    try {
      for (
        let message = await current.take(ending);
        message !== undefined;
        message = await current.take(ending)
      ) {
        yield message;
        if (options.ackWhen !== 'explicit') message.ack();
      }
      broken.signal.throwIfAborted();
    } finally {
      try {
        await acks.flush();
      } finally {
        stopping.abort();
        await running;
        inbox = undefined;
      }
    }
  }
  return {
    messages,
    readyCount: (kind) =>
      sockets.readyLinks().filter((link) => kind === undefined || link.kind === kind).length,
    useFleet: (fleet) => sockets.useFleet(fleet),
    counts: tally.counts,
  };
}

/**
 * A generator that waits for a message would only hear that it is left once there is one; a stream that is made of
 * it leaves it at any time.
 */
function leftAtOnce<Item>(
  generator: AsyncGenerator<Item, void, undefined>,
  leaving: AbortController,
): AsyncGenerator<Item, void, undefined> {
  const left: AsyncGenerator<Item, void, undefined> = {
    next: () => generator.next(),
    return: (value) => {
      leaving.abort();
      return generator.return(value);
    },
    throw: (error) => {
      leaving.abort();
      return generator.throw(error);
    },
    [Symbol.asyncIterator]: () => left,
    [Symbol.asyncDispose]: async () => void (await left.return()),
  };
  return left;
}

type Callbacks = 'onReady' | 'onMessage' | 'onEmpty' | 'onEnd';

function socketOptionsOf(options: ReceiverOptions): Omit<WarmSocketsOptions, Callbacks> {
  const { transport, clock, random, fleet, mailboxes, preferredProvider } = options;
  return {
    transport,
    clock,
    random,
    fleet,
    mailboxes,
    preferredProvider,
    warm: options.warm ?? 2,
    window: windowOf(options),
    openWithinMs: options.openWithinMs ?? 4000,
    backoff: options.backoff ?? { baseMs: 250, maxMs: 15_000 },
    socketRetry: options.socketRetry ?? { baseMs: 30_000, maxMs: 900_000 },
  };
}

function ackConfigOf(options: ReceiverOptions): AckConfig {
  return {
    batchForMs: options.ackBatchForMs ?? ACKS_BY_DEFAULT.batchForMs,
    batchForMsMax: options.ackBatchForMsMax ?? ACKS_BY_DEFAULT.batchForMsMax,
    batchIdsMax: Math.min(
      ACK_IDS_MAX,
      options.ackBatchIdsMax ?? ACKS_BY_DEFAULT.batchIdsMax,
      Math.max(1, Math.floor(windowOf(options) * ACKED_SHARE_OF_WINDOW)),
    ),
  };
}

function windowOf(options: ReceiverOptions): number {
  return options.window ?? 64;
}
