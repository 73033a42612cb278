/**
 * What happened in a simulated world, line by line, for people to read and for machines to compare: the digest of two
 * runs of one seed is the same, or something in the world is not decided by the seed.
 */
import { createHash } from 'node:crypto';

export interface Trace {
  /** One line: the virtual time in seconds, who, and what. */
  note(who: string, what: string): void;
  /** SHA-256 over every line so far, 16 hex digits of it. */
  readonly digest: () => string;
}

const WHO_WIDTH = 12;

/** `say` gets each line as it is made. */
export function createTrace(nowMs: () => number, say: (line: string) => void): Trace {
  const hash = createHash('sha256');
  return {
    note: (who, what) => {
      const line = `${(nowMs() / 1000).toFixed(3).padStart(9)}  ${who.padEnd(WHO_WIDTH)} ${what}`;
      hash.update(line).update('\n');
      say(line);
    },
    digest: () => hash.copy().digest('hex').slice(0, 16),
  };
}
