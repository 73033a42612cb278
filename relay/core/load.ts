/**
 * Who is let in when a relay has more to do than it can.
 *
 * Two measures say how full it is: push requests under way, and how late the event loop is. As either grows, the
 * least urgent messages are refused first (RFC 8030 §5.3 lets senders say what can wait), so that there is room for
 * the urgent ones to the end. Nothing is remembered: a relay that has caught up takes everything again.
 */
import type { Urgency } from './message.ts';

export interface Load {
  /** Push requests under way. */
  readonly underWay: number;
  readonly underWayMax: number;
  /** How late the event loop is, smoothed, milliseconds. */
  readonly lagMs: number;
}

/** Up to which share of the requests, and how late an event loop, a message is let in. */
const ROOM: Readonly<Record<Urgency, { readonly share: number; readonly lagMs: number }>> = {
  'very-low': { share: 0.5, lagMs: 100 },
  low: { share: 0.75, lagMs: 200 },
  normal: { share: 0.9, lagMs: 400 },
  high: { share: 1, lagMs: 800 },
};
/** Of the connections of a relay, what recipients may keep: there has to be room for senders and for who asks how it is. */
const RECIPIENTS_SHARE = 0.9;
/** Weight of the newest measurement, and the most that one may say: a single hiccup is no surge. */
const NEWEST = 0.3;
const LAG_MS_MAX = 1000;

/** Whether one more message of this urgency may come in. A relay that does nothing takes one of any. */
export function hasRoom({ underWay, underWayMax, lagMs }: Load, urgency: Urgency): boolean {
  const room = ROOM[urgency];
  return underWay < Math.max(1, Math.floor(room.share * underWayMax)) && lagMs < room.lagMs;
}

/** Whether the relay is full enough to look at who causes it. */
export function isCrowded(load: Load): boolean {
  return !hasRoom(load, 'very-low');
}

/** The smoothed lag after one more measurement, milliseconds. */
export function smoothLag(lagMs: number, measuredMs: number): number {
  return (1 - NEWEST) * lagMs + NEWEST * Math.min(LAG_MS_MAX, Math.max(0, measuredMs));
}

/** How many recipients a relay takes that may have `connectionsMax` connections of clients. */
export function recipientsOf(connectionsMax: number): number {
  return Math.max(1, Math.floor(RECIPIENTS_SHARE * connectionsMax));
}
