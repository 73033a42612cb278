/**
 * Topics (RFC 8030 §5.4): of the messages that wait under one topic of one push URL only the newest is kept.
 *
 * A newer message is accepted first and the older ones are retracted afterwards, so there is never none. Only who knows the
 * push URL can retract. So the relay that accepts a message under a topic remembers for a while, in memory, through which
 * push URL it came, and looks again whenever another site brings an older one. Its own word is all that it goes by: a
 * date that another site wrote replaces nothing. A relay that has forgotten lets an older message be delivered too.
 */
import type { Clock } from '../../system/clock.ts';
import { ACK_IDS_MAX, type SignedAck } from '../core/ack.ts';
import type { MailboxTag } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';
import { createRetraction, openingOf } from '../core/retraction.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore } from '../ports.ts';

export interface TopicsDeps {
  readonly store: Pick<MessageStore, 'pending' | 'load'>;
  readonly bury: (tombstone: SignedAck) => Promise<void>;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly events: Pick<RelayEvents, 'topicKept'>;
}

export interface Topics {
  /**
   * Retracts what a message replaces that was accepted here through the push URL with this 16-byte id. Nothing to wait for
   * when it has no topic. Never rejects.
   */
  sent(message: Message, capabilityId: Uint8Array): Promise<void> | undefined;
  /** The same for a message that another site brought, if a newer one of its topic was accepted here. Never rejects. */
  readonly arrived: (message: Message) => Promise<void> | undefined;
}

/** The newest message of a topic that was accepted here. */
interface Newest {
  readonly capabilityId: Uint8Array;
  readonly mailbox: MailboxTag;
  readonly topic: string;
  readonly acceptedMs: number;
  readonly id: string;
}

/** Messages at the head of a mailbox that are looked at: older ones are what is to be replaced. */
const LOOKED_AT_MAX = 256;
const REMEMBERED_MAX = 10_000;

/** Remembers the newest message of up to 10,000 topics that was accepted here. */
export function createTopics({ store, bury, clock, events }: TopicsDeps): Topics {
  const remembered = new Map<string, Newest>();

  const remember = (newest: Newest): void => {
    remembered.delete(newest.topic);
    remembered.set(newest.topic, newest);
    const [oldest] = remembered.keys();
    if (remembered.size > REMEMBERED_MAX && oldest !== undefined) remembered.delete(oldest);
  };
  const replaceOlder = async (newest: Newest): Promise<void> => {
    const waiting = await store.pending(newest.mailbox, LOOKED_AT_MAX, clock.wallMs());
    const replaced = waiting
      .filter((message) => message.topic === newest.topic && precedes(message, newest))
      .slice(0, ACK_IDS_MAX);
    if (replaced.length === 0) return;
    const opened = replaced.map(({ id }) => ({ id, opening: openingOf(newest.capabilityId, id) }));
    const expiresMs = Math.max(...replaced.map((older) => older.expiresMs));
    await bury(createRetraction(newest.mailbox, opened, expiresMs));
  };
  const keep = (): void => events.topicKept();

  const replaceBy = async (
    { mailbox, id, topic, acceptedMs }: Message,
    capabilityId: Uint8Array,
  ): Promise<void> => {
    try {
      // What was sent again is as old as its first copy, and what is buried replaces nothing.
      const [stored] = await store.load([referenceTo({ mailbox, id })]);
      if (stored === undefined || !('body' in stored)) return;
      const sent = {
        capabilityId,
        mailbox,
        topic,
        id,
        acceptedMs: Math.min(acceptedMs, stored.acceptedMs),
      };
      const earlier = remembered.get(topic);
      const newest = earlier !== undefined && precedes(sent, earlier) ? earlier : sent;
      remember(newest);
      await replaceOlder(newest);
    } catch {
      keep();
    }
  };

  return {
    sent: (message, capabilityId) => (message.topic === '' ? undefined : replaceBy(message, capabilityId)),
    arrived: (message) => {
      const newest = message.topic === '' ? undefined : remembered.get(message.topic);
      return newest !== undefined && precedes(message, newest) ? replaceOlder(newest).catch(keep) : undefined;
    },
  };
}

type Dated = Pick<Newest, 'acceptedMs' | 'id'>;

function precedes(a: Dated, b: Dated): boolean {
  if (a.acceptedMs !== b.acceptedMs) return a.acceptedMs < b.acceptedMs;
  return Buffer.compare(Buffer.from(a.id, 'base64url'), Buffer.from(b.id, 'base64url')) < 0;
}
