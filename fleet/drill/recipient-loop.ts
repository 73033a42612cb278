/**
 * A recipient of a drill: receives, writes down what it got, and acks. It judges nothing; the checker does, from
 * the digest.
 */
import type { Fleet } from '../../client/fleet.ts';
import { importMailbox } from '../../client/mailbox.ts';
import { createReceiver, type Receiver } from '../../client/receiver.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { Kind } from './client-kinds.ts';
import type { PlannedMailbox } from './client-plan.ts';
import type { LedgerWriter } from './ledger.ts';
import { digestOf, readClaim } from './payload.ts';

export interface RecipientOptions {
  readonly name: string;
  readonly planned: PlannedMailbox;
  readonly kind: Kind;
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly random: Random;
  readonly ledger: LedgerWriter;
  readonly onDelivered: () => void;
  readonly onLinked: (linked: boolean) => void;
  readonly onEmpty: () => void;
}

/** After a failure a recipient waits at most this long before it connects again, milliseconds. */
const RECONNECT_WITHIN_MS = 250;

/** Receives until the signal aborts. */
export async function runRecipient(options: RecipientOptions, signal: AbortSignal): Promise<void> {
  const { clock, kind, ledger, planned } = options;
  const mailbox = await importMailbox(planned.mailbox);
  let wasLinked = false;
  /** A socket may end after the receiver has, and by then the ledger may be closed. */
  let isOver = false;
  const noteLink = (receiver: Receiver): void => {
    const linked = receiver.readyCount() > 0;
    if (isOver || linked === wasLinked) return;
    wasLinked = linked;
    ledger.write({
      kind: 'link',
      client: options.name,
      change: linked ? 'up' : 'down',
      site: kind.siteOf(''),
      atMs: clock.monotonicMs(),
    });
    options.onLinked(linked);
  };
  const noteDelivery = (content: Uint8Array | undefined): void => {
    ledger.write({
      kind: 'delivered',
      mailbox: planned.label,
      claim: content === undefined ? null : readClaim(content),
      digest: content === undefined ? '' : digestOf(content),
      atMs: clock.monotonicMs(),
    });
  };
  const receiver = createReceiver({
    transport: kind.transport,
    clock,
    random: options.random,
    fleet: options.fleet,
    mailboxes: [mailbox],
    warm: kind.warm,
    backoff: { baseMs: RECONNECT_WITHIN_MS, maxMs: RECONNECT_WITHIN_MS },
    onEvent: (event) => {
      if (event === 'undecryptable') noteDelivery(undefined);
      if (event === 'duplicate') ledger.write({ kind: 'repeated', mailbox: planned.label });
      if (event === 'empty') options.onEmpty();
      // The receiver counts an end before or after it forgets the socket; one turn later it has.
      if (event === 'ready' || event.startsWith('ended_')) setImmediate(() => noteLink(receiver));
    },
  });
  try {
    for await (const message of receiver.messages(signal)) {
      noteDelivery(message.content);
      options.onDelivered();
    }
  } finally {
    isOver = true;
  }
}
