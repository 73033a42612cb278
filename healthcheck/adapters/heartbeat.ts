/**
 * Who still lives, between the threads of one process: each counts its own turns in a word of shared memory, and the
 * other looks whether that word changes.
 *
 * Time is counted in the looker's own turns, each of which may stand for little. So a process that was stopped as a
 * whole, or a machine that was frozen, is not mistaken for one thread that hangs while the other goes on.
 */

export interface Watch {
  /** Looks; for how long the other has not turned, milliseconds of the looker's own life. */
  look(nowMs: number): number;
}

/** The most that may pass between two looks; more means that the looker itself stood still. */
const TURN_MS_MAX = 1000;

/** One turn more. */
export function turn(word: Int32Array): void {
  Atomics.add(word, 0, 1);
}

/** Watches whoever turns `word`; who has never turned has not begun yet, and is not silent. `nowMs` is monotonic. */
export function createWatch(word: Int32Array, nowMs: number): Watch {
  let seen = Atomics.load(word, 0);
  let lookedMs = nowMs;
  let silentMs = 0;
  return {
    look: (atMs) => {
      const turned = Atomics.load(word, 0);
      const isSilent = turned !== 0 && turned === seen;
      silentMs = isSilent ? silentMs + Math.min(TURN_MS_MAX, atMs - lookedMs) : 0;
      seen = turned;
      lookedMs = atMs;
      return silentMs;
    },
  };
}
