/**
 * The operator's commands by their names.
 */
import type { OperatorCommand } from './command.ts';
import { explainCommand } from './explain.ts';
import { statusCommand } from './status.ts';

const COMMANDS: Readonly<Record<string, OperatorCommand>> = {
  status: statusCommand,
  explain: explainCommand,
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
  ].join('\n');
}

/** The names of all commands. */
export function commandNames(): readonly string[] {
  return Object.keys(COMMANDS);
}
