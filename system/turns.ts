/**
 * Steps that must not overlap, taken one after another in the order in which they were asked for.
 */

/** Runs a step when all earlier ones have ended, however they ended; gives what it gives. */
export type InTurn = <Value>(step: () => Promise<Value>) => Promise<Value>;

/** Turns of which none is taken yet. */
export function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return async (step) => {
    const turn = last.then(step);
    last = turn.catch(() => undefined);
    return turn;
  };
}
