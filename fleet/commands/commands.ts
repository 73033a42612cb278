/**
 * The operator's commands by their names.
 */
import { addSiteCommand } from './add-site.ts';
import { EXIT_CODES, type OperatorCommand } from './command.ts';
import { composeCommand } from './compose.ts';
import { delegationCommand } from './delegation.ts';
import { diffCommand } from './diff.ts';
import { drainCommand, serveCommand, undrainCommand } from './drain.ts';
import { dropCommand } from './drop.ts';
import { explainCommand } from './explain.ts';
import { freezeCommand, unfreezeCommand } from './freeze.ts';
import { initCommand } from './init.ts';
import { keysCommand } from './keys.ts';
import { pushCommand } from './push.ts';
import { releaseCommand } from './release.ts';
import { signCommand } from './sign.ts';
import { statusCommand } from './status.ts';
import { witnessCommand } from './witness.ts';

/** In the order in which a fleet comes into being. */
const COMMANDS: Readonly<Record<string, OperatorCommand>> = {
  init: initCommand,
  'add-site': addSiteCommand,
  compose: composeCommand,
  diff: diffCommand,
  sign: signCommand,
  push: pushCommand,
  delegation: delegationCommand,
  status: statusCommand,
  explain: explainCommand,
  drain: drainCommand,
  serve: serveCommand,
  undrain: undrainCommand,
  freeze: freezeCommand,
  unfreeze: unfreezeCommand,
  drop: dropCommand,
  witness: witnessCommand,
  keys: keysCommand,
  release: releaseCommand,
};

/** The command of that name, or undefined when there is none. */
export function commandNamed(name: string | undefined): OperatorCommand | undefined {
  return name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}

/** What there is, for the help. */
export function commandsHelp(): string {
  return [
    'For operators, npm run fleet -- COMMAND:',
    ...Object.values(COMMANDS).map(({ help }) => help),
    '',
    'Exit codes of these:',
    ...Object.entries(EXIT_CODES).map(([code, what]) => `  ${code.padEnd(2)}  ${what}`),
  ].join('\n');
}

/** The names of all commands. */
export function commandNames(): readonly string[] {
  return Object.keys(COMMANDS);
}
