/**
 * How many frames a recipient may send: one for each message that it got, which it acks, and a few more for beats and for acks
 * of what another connection brought. Frames cost the relay more than they cost whoever makes them, and whoever reads on
 * as fast as they come lets one connection take what a thousand others need.
 *
 * What is too much is not refused, because an ack may be among it: the connection is not read until it is due, and the
 * rest waits where it comes from.
 */

/** Frames that may come at once, and each second: a client beats once in several seconds. */
export const FRAMES_BURST = 512;
export const FRAMES_PER_SECOND = 8;

export class FrameAllowance {
  #left: number = FRAMES_BURST;
  #atMs: number;

  /** Full at first; times are milliseconds of one monotonic clock. */
  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** Messages were sent to the recipient, which may answer each. */
  earn(messages: number): void {
    this.#left = Math.min(FRAMES_BURST, this.#left + messages);
  }

  /** Counts a frame that came; gives for how long no further one is to be read, milliseconds. */
  take(nowMs: number): number {
    const earned = ((nowMs - this.#atMs) / 1000) * FRAMES_PER_SECOND;
    this.#left = Math.min(FRAMES_BURST, this.#left + earned) - 1;
    this.#atMs = nowMs;
    if (this.#left >= 0) return 0;
    // A second more, so that it is read in steps and not frame by frame.
    return Math.ceil(((FRAMES_PER_SECOND - this.#left) / FRAMES_PER_SECOND) * 1000);
  }
}
