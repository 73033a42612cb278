/**
 * Settings from an environment: parsed once at start, whole or not at all.
 *
 * Every fault is reported at once, each with the setting's name, what was expected and what was given, and a
 * setting that nobody knows is a fault too, because a misspelt name in production would otherwise become a
 * default. A service describes its settings as data; documentation is checked against that data.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fail, ok, type Result } from './result.ts';

/** One setting: how it is described to people, how it is read, and what stands in when it is not given. */
export interface Setting<Value> {
  /** Completes the sentence "expected …". */
  readonly expected: string;
  readonly parse: (text: string) => Value | undefined;
  /** Absent: the setting must be given. */
  readonly fallback?: Value;
  /** Its value is never repeated in a fault. */
  readonly secret?: true;
}

export type Shape = Readonly<Record<string, Setting<unknown>>>;
export type SettingsOf<S extends Shape> = {
  readonly [Name in keyof S]: S[Name] extends Setting<infer Value> ? Value : never;
};

/**
 * Reads every setting of `shape` from `environment`. Names in `shape` are whole names (`RELAY_SITE`); a name in
 * the environment that begins with `prefix` and is not in `shape` is a fault.
 */
export function readSettings<S extends Shape>(
  prefix: string,
  shape: S,
  environment: Readonly<Record<string, string | undefined>>,
): Result<SettingsOf<S>, readonly string[]> {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(shape)) {
    const text = environment[name];
    if (text === undefined || text === '') {
      if ('fallback' in setting) values[name] = setting.fallback;
      else faults.push(`${name}: expected ${setting.expected}, got nothing`);
      continue;
    }
    const value = setting.parse(text);
    if (value === undefined) {
      const given = setting.secret === true ? 'something else' : JSON.stringify(text.slice(0, 80));
      faults.push(`${name}: expected ${setting.expected}, got ${given}`);
    } else values[name] = value;
  }
  for (const name of Object.keys(environment)) {
    if (name.startsWith(prefix) && !(name in shape)) {
      faults.push(`${name}: no such setting${suggestion(name, Object.keys(shape))}`);
    }
  }
  return faults.length === 0 ? ok(values as SettingsOf<S>) : fail(faults);
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A text that matches `pattern` whole; `expected` completes "expected …" in a fault. */
export function text(expected: string, pattern: RegExp, fallback?: string): Setting<string> {
  return withFallback({ expected, parse: (given) => (pattern.test(given) ? given : undefined) }, fallback);
}

/** A whole number between `min` and `max`; name the unit in the setting's name. */
export function integer(min: number, max: number, fallback?: number): Setting<number> {
  return withFallback(
    {
      expected: `a whole number between ${min} and ${max}`,
      parse: (given) => {
        const value = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN;
        return value >= min && value <= max ? value : undefined;
      },
    },
    fallback,
  );
}

/** One of `choices`, exactly as written. */
export function oneOf<const Choice extends string>(
  choices: readonly Choice[],
  fallback?: NoInfer<Choice>,
): Setting<Choice> {
  return withFallback(
    {
      expected: choices.map((choice) => JSON.stringify(choice)).join(' or '),
      parse: (given) => choices.find((choice) => choice === given),
    },
    fallback,
  );
}

/** An address and a port to listen at or to connect to: `127.0.0.1:8443` or `[::1]:8443`. */
export function endpoint(fallback?: Endpoint): Setting<Endpoint> {
  return withFallback(
    {
      expected: 'an IP address and a port, such as 192.0.2.7:443 or [2001:db8::7]:443',
      parse: (given) => {
        const match = /^(?:\[([0-9a-fA-F:.]+)\]|(\d{1,3}(?:\.\d{1,3}){3})):(\d{1,5})$/.exec(given);
        const host = match?.[1] ?? match?.[2];
        const port = Number(match?.[3]);
        return host === undefined || port > 65_535 ? undefined : { host, port };
      },
    },
    fallback,
  );
}

/** One address and port, or several with commas between them. */
export function endpoints(): Setting<readonly Endpoint[]> {
  const one = endpoint();
  return {
    expected: `${one.expected}, or several with commas between them`,
    parse: (given) => {
      const parsed = given.split(',').map((part) => one.parse(part.trim()));
      const found = parsed.filter((each) => each !== undefined);
      return found.length === parsed.length ? found : undefined;
    },
  };
}

/** A file that can be read; the value is its content, its path stays out of the program. */
export function contentOf(what: string): Setting<string> {
  return {
    expected: `the path of a readable file with ${what}`,
    parse: (path) => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return undefined;
      }
    },
  };
}

/** A directory that exists; the value is its path. */
export function directory(): Setting<string> {
  return {
    expected: 'the path of an existing directory',
    parse: (path) => (isDirectory(path) ? path : undefined),
  };
}

/** A file that the program keeps: it need not exist yet, but its directory must. The value is its path. */
export function fileToKeep(): Setting<string> {
  return {
    expected: 'the path of a file in an existing directory',
    parse: (path) => (isDirectory(dirname(path)) ? path : undefined),
  };
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Makes a setting optional: `undefined` when it is not given. */
export function optional<Value>(setting: Setting<Value>): Setting<Value | undefined> {
  return { ...setting, fallback: undefined };
}

function withFallback<Value>(setting: Setting<Value>, fallback: Value | undefined): Setting<Value> {
  return fallback === undefined ? setting : { ...setting, fallback };
}

/** "; did you mean X?" for the nearest known name, when one is near enough to be a slip of the hand. */
export function suggestion(given: string, known: readonly string[]): string {
  const nearest = known
    .map((name) => ({ name, distance: editDistance(given, name) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return nearest !== undefined && nearest.distance <= 3 ? `; did you mean ${nearest.name}?` : '';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
