/**
 * Acks on their way out: gathered for a moment, then sent wherever a copy came from, and only there, because a site
 * has to remember an ack of what it never saw for as long as a message could live. Sockets that brought the same
 * messages share one signature.
 *
 * If none of the sockets of a message is left, another that is ready will do: a signed ack is good at every site. If
 * there is none at all the ack is forgotten: the relay sends the message again, and it is acked again.
 */
import type { Clock } from '../system/clock.ts';
import { type Bytes, concat, fromBase64url } from './bytes.ts';
import { encodeAck } from './frames.ts';
import type { Mailbox } from './mailbox.ts';
import type { Session } from './session.ts';

export interface AckConfig {
  /** A batch goes out when it is so large; at most `ACK_IDS_MAX`. */
  readonly batchIdsMax: number;
  /** Or so old, milliseconds. */
  readonly batchForMs: number;
}

export interface Acks {
  add(mailbox: number, id: string, sessions: Iterable<Session>): void;
  /** Resolves when everything that was added is handed to the sockets. */
  flush(): Promise<void>;
}

interface Batch {
  /** Where a copy of each id came from. */
  readonly sessionsOf: Map<string, Set<Session>>;
  readonly cancelTimer: () => void;
}

/**
 * Acks for `mailboxes`, in the order of the hello frame. A batch is signed (Ed25519, RFC 8032) after `config` says,
 * and lost without an error.
 */
export function createAcks(
  mailboxes: readonly Mailbox[],
  clock: Clock,
  config: AckConfig,
  readySessions: () => readonly Session[],
): Acks {
  const batches = new Map<number, Batch>();
  const sending = new Set<Promise<void>>();

  const sendBatch = async (place: number, batch: Batch): Promise<void> => {
    const signed = new Map<string, Promise<Bytes>>();
    const sent = [...idsBySession(batch, readySessions())].map(async ([session, ids]) => {
      const key = ids.join();
      const frame = signed.get(key) ?? signFrame(place, ids);
      signed.set(key, frame);
      session.send(await frame);
    });
    await Promise.all(sent);
  };
  const signFrame = async (place: number, ids: readonly string[]): Promise<Bytes> => {
    const idBytes = concat(...ids.map((id) => fromBase64url(id) ?? new Uint8Array()));
    const signature = (await mailboxes[place]?.signAck(idBytes)) ?? new Uint8Array();
    return encodeAck(place, signature, idBytes);
  };
  const dispatch = (place: number): void => {
    const batch = batches.get(place);
    if (batch === undefined) return;
    batches.delete(place);
    batch.cancelTimer();
    const sent = sendBatch(place, batch).finally(() => sending.delete(sent));
    sending.add(sent);
  };
  return {
    add: (place, id, sessions) => {
      let batch = batches.get(place);
      if (batch === undefined) {
        const cancelTimer = clock.after(config.batchForMs, () => dispatch(place));
        batch = { sessionsOf: new Map(), cancelTimer };
        batches.set(place, batch);
      }
      const known = batch.sessionsOf.get(id);
      batch.sessionsOf.set(id, new Set([...(known ?? []), ...sessions]));
      if (batch.sessionsOf.size >= config.batchIdsMax) dispatch(place);
    },
    flush: async () => {
      for (const place of batches.keys()) dispatch(place);
      await Promise.all(sending);
    },
  };
}

function idsBySession(batch: Batch, ready: readonly Session[]): ReadonlyMap<Session, readonly string[]> {
  const idsOf = new Map<Session, string[]>();
  for (const [id, sessions] of batch.sessionsOf) {
    const origins = ready.filter((session) => sessions.has(session));
    for (const session of origins.length > 0 ? origins : ready.slice(0, 1)) {
      const ids = idsOf.get(session) ?? [];
      ids.push(id);
      idsOf.set(session, ids);
    }
  }
  return idsOf;
}
