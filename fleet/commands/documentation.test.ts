/** docs/fleet.md says what the program does: exit codes, checks, commands. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SANITY_CHECKS } from '../operator/sanity.ts';
import { EXIT_CODES } from './command.ts';
import { commandNamed, commandNames, commandsHelp } from './commands.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/fleet.md'), 'utf8');
const section = (title: string): string => text.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '';

test('the table of exit codes is that of the program', () => {
  const rows = section('For scripts').matchAll(/^\| (\d+) +\| (.+?) +\|$/gm);
  expect(Object.fromEntries([...rows].map(([, code, what]) => [code, what]))).toEqual(EXIT_CODES);
  for (const what of Object.values(EXIT_CODES)) expect(commandsHelp()).toContain(what);
});

test('the table of checks has all of them, and no other', () => {
  const rows = section('What is checked before anything is signed').matchAll(/^\| `(\w+)`/gm);
  expect([...rows].map(([, name]) => name)).toEqual(Object.keys(SANITY_CHECKS));
});

test('every command is described, and every command that is described exists', () => {
  const described = [...text.matchAll(/`(?:fleet )?([a-z-]+)[^`\n]*`/g)].map(([, name = '']) => name);
  expect(commandNames().filter((name) => !described.includes(name))).toEqual([]);
  const commanded = [...text.matchAll(/`fleet ([a-z-]+)/g)].map(([, name = '']) => name);
  expect(commanded.filter((name) => commandNamed(name) === undefined && name !== 'keys')).toEqual([]);
});
