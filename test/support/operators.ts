/**
 * Operators with a directory of their own, who give commands as a script would: in this process, with a passphrase in
 * the environment and nobody to ask.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Terminal } from '../../fleet/commands/command.ts';
import { commandNamed } from '../../fleet/commands/commands.ts';
import { makeDirectory } from '../../fleet/operator/directory.ts';
import { makeFleet } from '../../fleet/operator/new-fleet.ts';
import { type Clock, systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

export const PASSPHRASE = 'correct horse battery staple';
/** What nobody guesses at needs no long derivation. */
const ITERATIONS = 1000;

interface Said {
  readonly code: number;
  /** Both streams, in order. */
  readonly text: string;
}

export interface Operators extends Disposable {
  /** Their directory; it is made by `found`, or by the command `init`. */
  readonly path: string;
  /** Makes the directory, with alice and bob on call. */
  found(zone: string, port?: number): Promise<void>;
  run(...words: readonly string[]): Promise<Said>;
  /** Writes a file beside the directory, and gives its path. */
  file(name: string, content: string): string;
}

export interface OperatorsOptions {
  readonly clock?: Clock;
  readonly terminal?: Terminal;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Nothing is made yet but a temporary place. */
export function createOperators(options: OperatorsOptions = {}): Operators {
  const root = mkdtempSync(join(tmpdir(), 'operators-'));
  const path = join(root, 'fleet-keys');
  return {
    path,
    found: async (zone, port = 443) => {
      const made = await makeFleet({
        zone,
        port,
        onCall: ['alice', 'bob'],
        passphrase: PASSPHRASE,
        iterations: ITERATIONS,
        random: systemRandom,
      });
      const directory = makeDirectory(path);
      if (!directory.ok) throw new Error(directory.fault);
      directory.value.change(made.files);
      directory.value.close();
    },
    run: async (name = '', ...words) => {
      const lines: string[] = [];
      const say = (line: string): void => void lines.push(line);
      const code = await commandNamed(name)?.run([...words, '--dir', path], {
        print: say,
        complain: say,
        clock: options.clock ?? systemClock,
        random: systemRandom,
        terminal: options.terminal,
        environment: options.environment ?? { FLEET_PASSPHRASE: PASSPHRASE },
      });
      if (code === undefined) throw new Error(`no command ${name}`);
      return { code, text: lines.join('\n') };
    },
    file: (name, content) => {
      const place = join(root, name);
      writeFileSync(place, content);
      return place;
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** What `pulumi stack output --json` says of these sites: the n-th has addresses that end in n + 1. */
export function stackOutput(names: readonly string[]): string {
  return JSON.stringify({
    sites: Object.fromEntries(
      names.map((name, index) => [
        name,
        {
          relay: { ipv4: [`192.0.2.${index + 1}`], ipv6: [`2001:db8::${index + 1}`] },
          nameserver: { ipv4: `198.51.100.${index + 1}`, ipv6: `2001:db8:1::${index + 1}` },
        },
      ]),
    ),
  });
}
