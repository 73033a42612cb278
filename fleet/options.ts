/**
 * The command line of the fleet: parsed whole, and refused with one sentence that says what would have been right.
 */
import { fail, ok, type Result } from '../system/result.ts';
import { integer, oneOf, type Setting, suggestion } from '../system/settings.ts';
import { commandNames } from './commands/commands.ts';
import { FAULT_NAMES, type FaultName, faultNamed } from './drill/faults/catalogue.ts';
import { LOCAL_SITES, type LocalSiteName } from './local/fleet.ts';
import type { StoreKind } from './local/site.ts';

export type Command =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'start';
      readonly store: StoreKind | undefined;
      readonly port: number | undefined;
      readonly release: string | undefined;
    }
  | {
      readonly kind: 'drill';
      readonly site: LocalSiteName;
      readonly fault: FaultName | 'all';
      readonly store: StoreKind | undefined;
      readonly ratePerSecond: number;
      readonly faultSeconds: number | undefined;
      readonly json: string | undefined;
      readonly port: number | undefined;
      readonly release: string | undefined;
    };

export const HELP: string = `Usage:
  npm start [-- --store redis|memory --port N --release FILE]
      Three sites on this machine, until Ctrl-C.
  npm run drill [-- --site aws|gcp|hetzner --fault NAME --store redis|memory
                    --rate N --seconds N --json FILE --port N
                    --release FILE]
      The same under traffic, and one site has a fault; a report.

  --store    redis when redis-server is on the PATH, else memory, which is not durable
  --port     the TCP port of all relays; a free one by default
  --release  an archive of npm run release to run; what is in this directory
  --site     the site that it happens to; aws
  --fault    what happens, see below, or all of it one after the other; kill
  --rate     sends per second, all senders together, 12 to 2000; 60
  --seconds  how long the fault lasts, 10 to 3600; what is usual for it
  --json     a file for everything that was measured

Faults; the site …
${FAULT_NAMES.map((name) => `  ${name.padEnd(11)} ${faultNamed(name).what}`).join('\n')}

Exit codes of a drill: 0 met, 1 missed, 2 unknown, 3 aborted, 4 refused (this machine cannot cause the fault),
5 not restored, 64 wrong usage.`;

const FLAGS = {
  site: oneOf(LOCAL_SITES, 'aws'),
  fault: {
    ...oneOf([...FAULT_NAMES, 'all'], 'kill'),
    expected: 'the name of a fault, or "all" (`npm run drill -- --help` lists them)',
  } as Setting<FaultName | 'all'>,
  store: oneOf(['redis', 'memory']),
  rate: integer(12, 2000, 60),
  seconds: integer(10, 3600),
  port: integer(1, 65_535),
  release: { expected: 'the path of a release', parse: (text: string) => text } as Setting<string>,
  json: { expected: 'the path of a file to write', parse: (text: string) => text } as Setting<string>,
} as const;
type Flag = keyof typeof FLAGS;

const FLAGS_OF: Readonly<Record<'start' | 'drill', readonly Flag[]>> = {
  start: ['store', 'port', 'release'],
  drill: ['site', 'fault', 'store', 'rate', 'seconds', 'port', 'json', 'release'],
};

/** Parses what follows the program's name. The fault is a sentence. */
export function parseCommand(words: readonly string[]): Result<Command, string> {
  const [name, ...rest] = words;
  if (name === undefined || name === 'help' || rest.includes('--help') || name === '--help') {
    return ok({ kind: 'help' });
  }
  if (name !== 'start' && name !== 'drill') {
    return fail(
      `There is no command ${quoted(name)}${suggestion(name, ['start', 'drill', 'help', ...commandNames()])}`,
    );
  }
  const given = readFlags(name, rest);
  if (!given.ok) return given;
  const faults: string[] = [];
  const read = <Value>(flag: Flag, setting: Setting<Value>): Value | undefined => {
    const text = given.value.get(flag);
    if (text === undefined) return setting.fallback;
    const value = setting.parse(text);
    if (value === undefined) faults.push(`--${flag}: expected ${setting.expected}, got ${quoted(text)}.`);
    return value;
  };
  const store = read('store', FLAGS.store);
  const port = read('port', FLAGS.port);
  const release = read('release', FLAGS.release);
  const command: Command =
    name === 'start'
      ? { kind: 'start', store, port, release }
      : {
          kind: 'drill',
          site: read('site', FLAGS.site) ?? 'aws',
          fault: read('fault', FLAGS.fault) ?? 'kill',
          store,
          port,
          release,
          ratePerSecond: read('rate', FLAGS.rate) ?? 0,
          faultSeconds: read('seconds', FLAGS.seconds),
          json: read('json', FLAGS.json),
        };
  return faults.length === 0 ? ok(command) : fail(faults.join(' '));
}

/** `--flag value` and `--flag=value`, each flag at most once. */
function readFlags(
  command: 'start' | 'drill',
  words: readonly string[],
): Result<ReadonlyMap<Flag, string>, string> {
  const known = FLAGS_OF[command];
  const given = new Map<Flag, string>();
  for (let at = 0; at < words.length; at += 1) {
    const [word, inline] = splitOnce(words[at] ?? '');
    const flag = known.find((name) => `--${name}` === word);
    if (flag === undefined) {
      const names = known.map((name) => `--${name}`);
      return fail(`${command} does not know ${quoted(word)}${suggestion(word, names)}`);
    }
    if (given.has(flag)) return fail(`--${flag} is given twice.`);
    const value = inline ?? words[(at += 1)];
    if (value === undefined || value === '')
      return fail(`--${flag}: expected ${FLAGS[flag].expected}, got nothing.`);
    given.set(flag, value);
  }
  return ok(given);
}

function splitOnce(word: string): readonly [string, string | undefined] {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
