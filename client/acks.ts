/**
 * Acks on their way out: gathered for a moment, then sent wherever a copy came from, and only there, because a site
 * has to remember an ack of what it never saw for as long as a message could live. Sockets that brought the same
 * messages share one signature.
 *
 * A recipient that gets many messages gathers its acks for longer: each signature costs every site a verification, and so
 * one of them stands for many messages just when that matters. How many and how long is drawn anew for each batch: those who
 * get the same messages, as members of a group do, would otherwise all ack in the same moment, and every message that came
 * behind their acks would wait for them.
 *
 * If none of the sockets of a message is left, another that is ready will do: a signed ack is good at every site. If
 * there is none at all the ack is forgotten: the relay sends the message again, and it is acked again.
 */
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { type Bytes, concat, fromBase64url } from './bytes.ts';
import type { Link } from './link.ts';
import type { Mailbox } from './mailbox.ts';

export interface AckConfig {
  /** A batch goes out when it has between half of so many messages and so many; at most `ACK_IDS_MAX`. */
  readonly batchIdsMax: number;
  /** Or so old, milliseconds, when its first message came alone. */
  readonly batchForMs: number;
  /** Or between half so old and so old, milliseconds, while they come one after the other; five times that while many come. */
  readonly batchForMsMax: number;
}

/** What a receiver does where it is not told otherwise. */
export const ACKS_BY_DEFAULT: AckConfig = { batchIdsMax: 96, batchForMs: 20, batchForMsMax: 250 };

/** A batch of so many messages and more is of a recipient that gets many, whose acks are gathered for longer still. */
const MANY_IDS = 8;
const MANY_TIMES = 5;

/** The batch of a mailbox before the one that is gathered. */
export interface BatchBefore {
  /** How long ago it went out, milliseconds. */
  readonly sinceMs: number;
  /** How many messages it acked. */
  readonly ids: number;
}

/** When the batch that begins now goes out: at whichever comes first. */
interface BatchEnd {
  /** Messages. */
  readonly ids: number;
  /** Milliseconds from its first message on. */
  readonly forMs: number;
}

/**
 * How acks are gathered. A lone message is acked soon, one that follows others waits for those that follow it, and longer when
 * the batch before was of eight or more. `lot` is in [0, 1): what is waited for is between half of that and all of it, so that
 * recipients who get the same messages come apart.
 */
export function gather(
  { sinceMs, ids }: BatchBefore,
  { batchForMs, batchForMsMax, batchIdsMax }: AckConfig,
  lot: number,
): BatchEnd {
  const share = (1 + lot) / 2;
  const end = { ids: Math.max(1, Math.round(batchIdsMax * share)), forMs: batchForMs };
  if (sinceMs >= batchForMsMax) return end;
  const longMs = ids >= MANY_IDS ? MANY_TIMES * batchForMsMax : batchForMsMax;
  return { ...end, forMs: Math.max(batchForMs, longMs * share) };
}

export interface Acks {
  add(mailbox: number, id: string, links: Iterable<Link>): void;
  /** Resolves when everything that was added is handed to the sockets. */
  flush(): Promise<void>;
}

const NONE_BEFORE = { sentMs: Number.NEGATIVE_INFINITY, ids: 0 } as const;

interface Batch {
  /** It goes out when it has so many. */
  readonly idsMax: number;
  /** Where a copy of each id came from. */
  readonly linksOf: Map<string, Set<Link>>;
  readonly cancelTimer: () => void;
}

/**
 * Acks for `mailboxes`, in the order of the hello frame. A batch is signed (Ed25519, RFC 8032) after `config` says,
 * and lost without an error.
 */
export function createAcks(
  mailboxes: readonly Mailbox[],
  { clock, random }: { readonly clock: Clock; readonly random: Pick<Random, 'fraction'> },
  config: AckConfig,
  readyLinks: () => readonly Link[],
): Acks {
  const batches = new Map<number, Batch>();
  /** The last batch of each mailbox that went out. */
  const last = new Map<number, { readonly sentMs: number; readonly ids: number }>();
  const sending = new Set<Promise<void>>();

  const sendBatch = async (place: number, batch: Batch): Promise<void> => {
    const signed = new Map<string, Promise<Bytes>>();
    const sent = [...idsByLink(batch, readyLinks())].map(async ([link, ids]) => {
      const idBytes = concat(...ids.map((id) => fromBase64url(id) ?? new Uint8Array()));
      const key = ids.join();
      const signature = signed.get(key) ?? sign(place, idBytes);
      signed.set(key, signature);
      await link.ack(place, await signature, idBytes);
    });
    await Promise.all(sent);
  };
  const sign = async (place: number, idBytes: Bytes): Promise<Bytes> =>
    (await mailboxes[place]?.signAck(idBytes)) ?? new Uint8Array();
  const dispatch = (place: number): void => {
    const batch = batches.get(place);
    if (batch === undefined) return;
    batches.delete(place);
    last.set(place, { sentMs: clock.monotonicMs(), ids: batch.linksOf.size });
    batch.cancelTimer();
    const sent = sendBatch(place, batch).finally(() => sending.delete(sent));
    sending.add(sent);
  };
  return {
    add: (place, id, links) => {
      let batch = batches.get(place);
      if (batch === undefined) {
        const { sentMs, ids } = last.get(place) ?? NONE_BEFORE;
        const end = gather({ sinceMs: clock.monotonicMs() - sentMs, ids }, config, random.fraction());
        const cancelTimer = clock.after(end.forMs, () => dispatch(place));
        batch = { idsMax: end.ids, linksOf: new Map(), cancelTimer };
        batches.set(place, batch);
      }
      const known = batch.linksOf.get(id);
      batch.linksOf.set(id, new Set([...(known ?? []), ...links]));
      if (batch.linksOf.size >= batch.idsMax) dispatch(place);
    },
    flush: async () => {
      for (const place of batches.keys()) dispatch(place);
      await Promise.all(sending);
    },
  };
}

function idsByLink(batch: Batch, ready: readonly Link[]): ReadonlyMap<Link, readonly string[]> {
  const idsOf = new Map<Link, string[]>();
  for (const [id, links] of batch.linksOf) {
    const origins = ready.filter((link) => links.has(link));
    for (const link of origins.length > 0 ? origins : ready.slice(0, 1)) {
      const ids = idsOf.get(link) ?? [];
      ids.push(id);
      idsOf.set(link, ids);
    }
  }
  return idsOf;
}
