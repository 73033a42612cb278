/**
 * One way to receive from one site, until it ends with a reason: a WebSocket (session.ts), or, where none gets
 * through, long-polls (long-poll.ts). Whoever uses one need not know which it is.
 */
import type { Clock } from '../system/clock.ts';
import type { Site } from './fleet.ts';
import type { MessageFrame } from './frames.ts';
import type { Mailbox } from './mailbox.ts';
import type { Transport } from './transport.ts';

export const LINK_ENDS = [
  'stopped',
  'unreachable',
  'open_timeout',
  'silent',
  'closed',
  'draining',
  'overloaded',
  'token_refused',
  'too_slow',
  'audience_foreign',
  'relay_malformed',
  'frame_refused',
  'queue_full',
  'socket_again',
] as const;
/** Why a link ended; `socket_again`: it was a long-poll, and WebSockets get through again. */
export type LinkEnd = (typeof LINK_ENDS)[number];

export interface LinkOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly site: Site;
  readonly mailboxes: readonly Mailbox[];
  /** How many messages may be on their way without an ack. */
  readonly window: number;
  /** Seconds since 1970 by the site's clock, as far as it is known. */
  readonly nowSeconds: () => number;
  /** From dialling to ready, in milliseconds. */
  readonly openWithinMs: number;
  readonly onReady: (link: Link) => void;
  readonly onMessage: (link: Link, frame: MessageFrame) => void;
  /** The mailbox at this place has nothing more to send for now. */
  readonly onEmpty: (link: Link, mailbox: number) => void;
}

export interface Link {
  readonly kind: 'socket' | 'poll';
  readonly site: Site;
  /** Rejects only when the mailbox keys cannot sign. */
  readonly ended: Promise<LinkEnd>;
  readonly isReady: boolean;
  /** Where a relay that drains says to go, origins; undefined unless it said so. */
  readonly alternates: readonly string[] | undefined;
  /**
   * Tells the site that these messages (16 bytes each) of the mailbox at this place are read. Resolves when it is on
   * its way; an ack that gets lost is asked for again by the message, which the site sends again.
   */
  ack(mailbox: number, signature: Uint8Array, idBytes: Uint8Array): Promise<void>;
  end(reason: LinkEnd): void;
}
