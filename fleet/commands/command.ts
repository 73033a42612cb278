/**
 * What every operator's command is: words in, lines and an exit code out. `main.ts` finds it by its name in the
 * table of `commands.ts`; a new command is one file and one line there.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { suggestion } from '../../system/settings.ts';

export const DONE = 0;
/** The command was understood, and something is not as it should be. */
export const NOT_WELL = 1;
export const REFUSED = 2;
export const UNREACHABLE = 3;
export const WRONG_USAGE = 64;

/** Every exit code of an operator's command; docs/fleet.md has the same table. */
export const EXIT_CODES: Readonly<Record<number, string>> = {
  [DONE]: 'done, or nothing had to be done',
  [NOT_WELL]: 'done as far as it could be, and something is not well: the lines say what',
  [REFUSED]: 'refused, and nothing was changed: a check failed, or you said no',
  [UNREACHABLE]: 'no nameserver could be reached; nothing was changed at any',
  [WRONG_USAGE]: 'wrong usage: a word, a file or a directory is not what the command needs',
};

/** The person at the terminal pressed Ctrl-C or Ctrl-D in place of an answer. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** A person at a terminal. Both questions reject with `Interrupted`. */
export interface Terminal {
  ask(question: string): Promise<string>;
  /** What is typed is not shown. */
  askSecret(question: string): Promise<string>;
}

export interface CommandIo {
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  /** Undefined where nobody can be asked, as in a script. */
  readonly terminal: Terminal | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface OperatorCommand {
  /** The line that shows how it is used, and what it does. */
  readonly help: string;
  /** Gives the exit code. */
  run(words: readonly string[], io: CommandIo): Promise<number>;
}

/** Why a command ends early: its exit code, and sentences for people. */
export interface Stop {
  readonly code: number;
  readonly lines: readonly string[];
}

export type Outcome<Value> = Result<Value, Stop>;

/** A word, a file or a directory is not what the command needs. */
export function misused(...lines: readonly string[]): { readonly ok: false; readonly fault: Stop } {
  return fail({ code: WRONG_USAGE, lines });
}

/** Understood, and not done; nothing was changed. */
export function refused(...lines: readonly string[]): { readonly ok: false; readonly fault: Stop } {
  return fail({ code: REFUSED, lines });
}

export interface Words {
  readonly positional: readonly string[];
  /** `--flag value`, `--flag=value`, and `--flag` alone for those that take no value. */
  readonly flags: ReadonlyMap<string, string>;
}

export interface CommandPlan {
  readonly help: string;
  readonly flags: Readonly<Record<string, 'value' | 'alone'>>;
  /** How many words beside the flags, and what they are: completes "needs …". */
  readonly words: { readonly min: number; readonly max: number; readonly what: string };
  /** Gives the exit code, or why it ends early. */
  readonly run: (given: Words, io: CommandIo) => Promise<Outcome<number>>;
}

/** A command that reads its words, and says in sentences why it did not do what it was asked. */
export function operatorCommand({ help, flags, words: count, run }: CommandPlan): OperatorCommand {
  const obey = async (words: readonly string[], io: CommandIo): Promise<Outcome<number>> => {
    const given = readWords(words, flags);
    if (!given.ok) return misused(given.fault);
    const { positional } = given.value;
    if (positional.length < count.min || positional.length > count.max) {
      const got = positional.length === 0 ? 'nothing' : positional.join(' ');
      return misused(`This command needs ${count.what}; got ${got}. It is used so:`, help);
    }
    try {
      return await run(given.value, io);
    } catch (error) {
      if (error instanceof Interrupted) return refused('Interrupted. Nothing was changed.');
      // What the file system refuses is the operator's to mend; everything else is a bug and may be loud.
      const { code, path, syscall } = error as NodeJS.ErrnoException;
      if (code === undefined || syscall === undefined || path === undefined) throw error;
      return misused(`${path}: ${syscall} failed with ${code}; is the disk full, or not yours?`);
    }
  };
  return {
    help,
    run: async (words, io) => {
      const outcome = await obey(words, io);
      if (outcome.ok) return outcome.value;
      for (const line of outcome.fault.lines) io.complain(line);
      return outcome.fault.code;
    },
  };
}

/** Asks before something is done; `--yes` has answered already. */
export async function agreed(question: string, given: Words, io: CommandIo): Promise<Outcome<void>> {
  if (given.flags.has('yes')) return ok(undefined);
  if (io.terminal === undefined) {
    return refused('Nobody can be asked here. Look at what would be done, then say --yes.');
  }
  const answer = await io.terminal.ask(`${question} [y/N] `);
  return /^y(es)?$/i.test(answer.trim()) ? ok(undefined) : refused('Nothing was changed.');
}

/** Splits words into flags and the rest; `flags` says which there are, and whether each takes a value. */
function readWords(
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
    const kind = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (kind === undefined) {
      return fail(`There is no --${name}${suggestion(name, Object.keys(flags))}`);
    }
    if (given.has(name)) return fail(`--${name} is given twice.`);
    if (kind === 'alone' && inline !== undefined) return fail(`--${name} takes no value.`);
    const value = kind === 'alone' ? '' : (inline ?? words[(at += 1)]);
    if (value === undefined || (kind === 'value' && value === '')) return fail(`--${name} needs a value.`);
    given.set(name, value);
  }
  return ok({ positional, flags: given });
}
