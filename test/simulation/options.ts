/**
 * The command line of the simulator: parsed whole, or refused with one sentence that says what would have been right.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { suggestion } from '../../system/settings.ts';
import type { World } from './world.ts';

export type SimulateCommand =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'one';
      readonly world: World;
      readonly seed: number;
      readonly mutant: string | undefined;
    }
  | {
      readonly kind: 'campaign';
      readonly world: World;
      readonly from: number;
      readonly seeds: number;
      readonly mutant: string | undefined;
    };

const FLAGS = ['--seeds', '--from', '--mutant'] as const;
type Flag = (typeof FLAGS)[number];
const SEED_MAX = 0xffff_ffff;

export function helpOf(worlds: readonly World[]): string {
  const [first] = worlds;
  return `Usage:
  npm run simulate -- [WORLD] SEED [--mutant NAME]
      One run: its trace, line by line, and the verdict. The same seed gives the same trace, byte for byte.
  npm run simulate -- [WORLD] --seeds N [--from SEED] [--mutant NAME]
      A campaign: N seeds, the first of them SEED (1 unless given), and a summary.

Worlds (${first?.name ?? 'none'} unless named):
${worlds.map(describeWorld).join('\n')}

Exit codes: 0 every invariant held, 1 one did not, 64 wrong usage.`;
}

function describeWorld({ name, about, mutants }: World): string {
  const lines = Object.entries(mutants).map(([mutant, wrong]) => `    --mutant ${mutant}: ${wrong}`);
  return [`  ${name}: ${about}`, ...lines].join('\n');
}

/** Parses what follows the program's name. The fault is a sentence. */
export function parseSimulate(
  words: readonly string[],
  worlds: readonly World[],
): Result<SimulateCommand, string> {
  if (words.length === 0 || words[0] === 'help' || words.includes('--help')) return ok({ kind: 'help' });
  const named = worlds.find(({ name }) => name === words[0]);
  const [world] = named === undefined ? worlds : [named];
  if (world === undefined) return fail('There is no world to simulate.');
  const given = new Map<Flag, string>();
  const bare: string[] = [];
  const rest = named === undefined ? words : words.slice(1);
  for (let at = 0; at < rest.length; at += 1) {
    const word = rest[at] ?? '';
    const flag = FLAGS.find((known) => known === word);
    if (flag === undefined && word.startsWith('--'))
      return fail(`There is no ${word}${suggestion(word, FLAGS)}`);
    if (flag === undefined) bare.push(word);
    else if (given.has(flag)) return fail(`${flag} is given twice.`);
    else given.set(flag, rest[(at += 1)] ?? '');
  }
  return commandOf(world, bare, given, worlds);
}

function commandOf(
  world: World,
  bare: readonly string[],
  given: ReadonlyMap<Flag, string>,
  worlds: readonly World[],
): Result<SimulateCommand, string> {
  const mutant = given.get('--mutant');
  const mutants = Object.keys(world.mutants);
  if (mutant !== undefined && !mutants.includes(mutant)) {
    return fail(`--mutant: expected one of ${mutants.join(', ')}, got ${JSON.stringify(mutant)}.`);
  }
  const [word, ...more] = bare;
  const seedsText = given.get('--seeds');
  if (seedsText === undefined) {
    const seed = numberIn(word, 0, SEED_MAX);
    if (seed === undefined || more.length > 0 || given.has('--from')) {
      const names = worlds.map(({ name }) => name).join(' or ');
      return fail(`Expected ${names}, then one seed between 0 and ${SEED_MAX}, or --seeds N with --from.`);
    }
    return ok({ kind: 'one', world, seed, mutant });
  }
  const seeds = numberIn(seedsText, 1, 10_000_000);
  const from = numberIn(given.get('--from') ?? '1', 0, SEED_MAX);
  if (seeds === undefined) return fail(`--seeds: expected 1 to 10000000, got ${JSON.stringify(seedsText)}.`);
  if (from === undefined || from + seeds > SEED_MAX) {
    return fail(`--from: expected a seed between 0 and ${SEED_MAX - seeds}.`);
  }
  if (word !== undefined) return fail(`With --seeds there is no place for ${JSON.stringify(word)}.`);
  return ok({ kind: 'campaign', world, from, seeds, mutant });
}

function numberIn(text: string | undefined, min: number, max: number): number | undefined {
  const value = /^\d{1,10}$/.test(text ?? '') ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}
