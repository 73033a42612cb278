/**
 * Topics (RFC 8030 §5.4): of the messages that wait in one mailbox under one topic only the newest is kept.
 *
 * A newer message is accepted first and the older ones are retracted afterwards, so there is never none. Every site
 * that stores a message under a topic looks, because a site may get the older one later than the newer; all come to
 * the same end, since the highest (acceptedMs, id) wins everywhere and a retraction of the same messages is the same.
 */
import { ACK_IDS_MAX, type SignedAck } from '../core/ack.ts';
import type { Message } from '../core/message.ts';
import { createRetraction } from '../core/retraction.ts';
import type { MessageStore } from '../ports.ts';

export interface TopicsDeps {
  readonly store: Pick<MessageStore, 'pending'>;
  readonly bury: (tombstone: SignedAck) => Promise<void>;
  readonly pepper: Uint8Array;
}

/** Messages at the head of a mailbox that are looked at: older ones are what is to be replaced. */
const LOOKED_AT_MAX = 256;

/** Retracts what `message`, or a newer one, replaces. Rejects when that is not certain; nothing is lost then. */
export async function replaceOlder(message: Message, nowMs: number, deps: TopicsDeps): Promise<void> {
  if (message.topic === '') return;
  const waiting = await deps.store.pending(message.mailbox, LOOKED_AT_MAX, nowMs);
  const ofTopic = waiting.filter(({ topic }) => topic === message.topic);
  const newest = [...ofTopic, message].reduce(newer);
  const replaced = ofTopic.filter(({ id }) => id !== newest.id).slice(0, ACK_IDS_MAX);
  if (replaced.length === 0) return;
  const expiresMs = Math.max(...replaced.map((older) => older.expiresMs));
  const ids = replaced.map(({ id }) => id);
  await deps.bury(createRetraction(message.mailbox, ids, expiresMs, deps.pepper));
}

function newer(a: Message, b: Message): Message {
  if (a.acceptedMs !== b.acceptedMs) return a.acceptedMs > b.acceptedMs ? a : b;
  return Buffer.compare(Buffer.from(a.id, 'base64url'), Buffer.from(b.id, 'base64url')) > 0 ? a : b;
}
