/**
 * A world that can be simulated: everything that happens in it follows from a seed, and it says itself whether what
 * must always hold did hold. `main.ts` knows the worlds; `campaign.ts` runs many seeds of one.
 */

interface RunOptions {
  readonly seed: number;
  /** One of the world's mutants: a part that is wrong on purpose, to show that it would be noticed. */
  readonly mutant?: string;
  /** Gets each line of the trace. */
  readonly say: (line: string) => void;
}

interface Verdict {
  /** What did not hold, each with its virtual time; empty when all did. */
  readonly violations: readonly string[];
  /** Counts, by name; a campaign adds them up. The names are the same in every run. */
  readonly figures: Readonly<Record<string, number>>;
  /** Of the trace: the same for the same seed. */
  readonly digest: string;
}

export interface World {
  readonly name: string;
  /** Completes the sentence "simulates …". */
  readonly about: string;
  /** The mutants by name, each with what is wrong in it. */
  readonly mutants: Readonly<Record<string, string>>;
  run(options: RunOptions): Promise<Verdict>;
}
