/**
 * Messages that are not to be stored (TTL 0, RFC 8030 §5.2): they go to a recipient that is connected, or to nobody.
 *
 * Which relay the recipient is connected to, no sender can know. So a message that nobody here takes is handed to the
 * other relays of this site and to every site in reach, each of which does the same once and keeps nothing. Between sites it
 * travels as a message that has expired: a relay that knows nothing of this takes it for one, and drops it.
 */
import type { Message } from '../core/message.ts';
import type { PutOutcome } from '../core/peer-frame.ts';
import type { RelayEvents } from '../events.ts';
import type { MessageStore, PeerLink } from '../ports.ts';

export interface TransientsDeps {
  readonly store: Pick<MessageStore, 'pass' | 'onPassed'>;
  readonly links: readonly PeerLink[];
  /** Hands it to a recipient that is connected to this relay; true when one took it. */
  readonly deliverNow: (message: Message) => boolean;
  readonly events: Pick<RelayEvents, 'discarded' | 'passedOn'>;
}

export interface Transients {
  /** A sender brought it. Nobody waits for it: no durability is promised, so none is pretended. Never throws. */
  readonly sent: (message: Message) => void;
  /** Another site brought it. `buried`: a recipient has it, `expired`: none of this relay does. */
  readonly arrived: (message: Message) => PutOutcome;
}

const CALL_TIMEOUT_MS = 1000;

/** Whether it is one: it has no time to live. */
export function isTransient({ acceptedMs, expiresMs }: Pick<Message, 'acceptedMs' | 'expiresMs'>): boolean {
  return expiresMs <= acceptedMs;
}

/** Listens to the other relays of this site from now on. */
export function createTransients({ store, links, deliverNow, events }: TransientsDeps): Transients {
  store.onPassed((message) => void deliverNow(message));
  const passToOwnSite = (message: Message): void => {
    // Its store is away, so nobody of this site can be asked.
    void store.pass(message).catch(() => undefined);
  };
  const passTo = async (link: PeerLink, message: Message): Promise<boolean> => {
    const records = [{ record: message.record, holders: [] }];
    const reply = await link.call({ type: 'put', records }, CALL_TIMEOUT_MS);
    return reply.type === 'outcomes' && reply.outcomes[0] === 'buried';
  };
  const passToOthers = async (message: Message): Promise<void> => {
    const answers = await Promise.allSettled(
      links.filter((link) => link.isUp()).map((link) => passTo(link, message)),
    );
    const isTaken = answers.some((answer) => answer.status === 'fulfilled' && answer.value);
    if (!isTaken) events.discarded('ttl_zero_not_connected', 1);
  };
  return {
    sent: (message) => {
      if (deliverNow(message)) return;
      events.passedOn();
      passToOwnSite(message);
      void passToOthers(message);
    },
    arrived: (message) => {
      if (deliverNow(message)) return 'buried';
      passToOwnSite(message);
      return 'expired';
    },
  };
}
