/**
 * The `fleet` command: `start` brings up a fleet on this machine, `drill` takes a provider away from one and measures.
 *
 * The first Ctrl-C stops politely and cleans up; the second kills at once, and the janitor cleans up.
 */
import { systemClock } from '../system/clock.ts';
import { systemRandom } from '../system/random.ts';
import { WRONG_USAGE } from './commands/command.ts';
import { commandNamed, commandsHelp } from './commands/commands.ts';
import { runDrillCommand } from './drill/command.ts';
import { redisVersion } from './local/redis.ts';
import type { StoreKind } from './local/site.ts';
import { type Command, HELP, parseCommand } from './options.ts';
import { runUntilInterrupted } from './start.ts';
import { terminalOf } from './terminal.ts';

const FAILED = 1;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => void process.stderr.write(`${line}\n`);

const words = process.argv.slice(2);
const operatorCommand = commandNamed(words[0]);
const parsed = parseCommand(words);
if (operatorCommand !== undefined && (words.includes('--help') || words.includes('-h'))) {
  print(operatorCommand.help);
} else if (operatorCommand !== undefined) {
  outliveReaders();
  process.exitCode = await operatorCommand.run(words.slice(1), {
    print,
    complain,
    clock: systemClock,
    random: systemRandom,
    terminal: terminalOf(process.stdin, process.stderr),
    environment: process.env,
  });
} else if (parsed.ok) process.exitCode = await obey(parsed.value, interruption());
else {
  complain(`${parsed.fault}\nTry: npm start, npm run drill, or node fleet/main.mjs help`);
  process.exitCode = WRONG_USAGE;
}

async function obey(command: Command, signal: AbortSignal): Promise<number> {
  switch (command.kind) {
    case 'help':
      print(`${HELP}\n\n${commandsHelp()}`);
      return 0;
    case 'start': {
      const store = chooseStore(command.store);
      if (store === undefined) return WRONG_USAGE;
      return await runUntilInterrupted({ ...command, store, signal, print, complain });
    }
    case 'drill': {
      const store = chooseStore(command.store);
      if (store === undefined) return WRONG_USAGE;
      return await runDrillCommand({ ...command, store, signal, print, complain });
    }
  }
}

/** Redis when it can be had, unless the operator chose; says so loudly when nothing will be durable. */
function chooseStore(asked: StoreKind | undefined): StoreKind | undefined {
  const installed = redisVersion() !== undefined;
  if (asked === 'redis' && !installed) {
    complain('--store redis: there is no redis-server on the PATH. Install it, or use --store memory.');
    return undefined;
  }
  const store = asked ?? (installed ? 'redis' : 'memory');
  if (store === 'memory') {
    const why = installed ? '' : ' (there is no redis-server on the PATH)';
    print(`NOT DURABLE: the embedded store keeps messages in memory only${why}. For a laptop and for tests.`);
  }
  return store;
}

/** Who reads what is said may go away, as `head` does: what was asked for is done all the same, to its end. */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

function interruption(): AbortSignal {
  const stopping = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (stopping.signal.aborted) {
      complain('Killed. What is left is cleaned up in the background.');
      process.exit(FAILED);
    }
    complain(`\n${name}: stopping. Once more to kill at once.`);
    stopping.abort(new Error(`Interrupted by ${name}.`));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
  return stopping.signal;
}
