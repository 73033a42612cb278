/**
 * What every operator's command is: words in, lines and an exit code out. `main.ts` finds it by its name in the
 * table of `commands.ts`; a new command is one file and one line there.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { suggestion } from '../../system/settings.ts';

export const DONE = 0;
/** The command was understood, and something is not as it should be. */
export const NOT_WELL = 1;
export const WRONG_USAGE = 64;

export interface CommandIo {
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
  readonly clock: Clock;
}

export interface OperatorCommand {
  /** The line that shows how it is used, and what it does. */
  readonly help: string;
  /** Gives the exit code. */
  run(words: readonly string[], io: CommandIo): Promise<number>;
}

export interface Words {
  readonly positional: readonly string[];
  /** `--flag value`, `--flag=value`, and `--flag` alone for those that take no value. */
  readonly flags: ReadonlyMap<string, string>;
}

/** Splits words into flags and the rest; `flags` says which there are, and whether each takes a value. */
export function readWords(
  words: readonly string[],
  flags: Readonly<Record<string, 'value' | 'alone'>>,
): Result<Words, string> {
  const positional: string[] = [];
  const given = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (!word.startsWith('--')) {
      positional.push(word);
      continue;
    }
    const [name = '', inline] = word.slice(2).split(/=(.*)/s);
    const kind = flags[name];
    if (kind === undefined) {
      return fail(`There is no --${name}${suggestion(name, Object.keys(flags))}`);
    }
    if (given.has(name)) return fail(`--${name} is given twice.`);
    const value = kind === 'alone' ? '' : (inline ?? words[(at += 1)]);
    if (value === undefined || (kind === 'value' && value === '')) return fail(`--${name} needs a value.`);
    given.set(name, value);
  }
  return ok({ positional, flags: given });
}
