/**
 * When each recipient leaves a relay that stops.
 *
 * A client's own jitter does not help against a herd that was told to go at one instant, so the relay gives each
 * recipient a time of its own and keeps serving it until then. The window grows with the crowd: a relay with few
 * recipients does not make anybody wait for it.
 */

/** Time that one recipient's arrival elsewhere is given, milliseconds. */
const PER_RECIPIENT_MS = 10;

/** Over how many milliseconds `recipients` leave; never more than `windowMsMax`. */
export function drainWindowMs(recipients: number, windowMsMax: number): number {
  return Math.min(windowMsMax, recipients * PER_RECIPIENT_MS);
}

/** After how many whole milliseconds the recipient at `place` (from 0) of `recipients` leaves. */
export function leaveAfterMs(place: number, recipients: number, windowMs: number): number {
  return Math.floor((windowMs * place) / Math.max(1, recipients));
}
