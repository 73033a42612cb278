/** Questions on a real pseudo-terminal, which `script` makes: nothing secret is seen, and the terminal is left as it was. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../test/support/eventually.ts';
import { suiteWith } from '../test/support/programs.ts';

const MAIN = join(import.meta.dirname, 'main.mjs');
const SECRET = 'five words that nobody sees';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
let root: string;
let child: ChildProcess | undefined;
let screen: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'terminal-'));
});
afterEach(async () => {
  if (child?.exitCode === null) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  rmSync(root, { recursive: true, force: true });
});

/** Runs the command in a shell on a terminal, which then says how that ended and how the terminal is. */
function onTerminal(...words: readonly string[]): void {
  const command = [process.execPath, MAIN, ...words].map((word) => `'${word}'`).join(' ');
  screen = '';
  const started = spawn('script', ['-q', '-c', `sh -c "${command}; echo exit=\\$?; stty -a"`, '/dev/null'], {
    cwd: root,
    env: { PATH: process.env['PATH'], TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  started.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
  });
  child = started;
}

async function shows(what: string): Promise<void> {
  await eventually(what, () => (screen.includes(what) ? true : undefined));
}

function type(keys: string): void {
  child?.stdin?.write(keys);
}

const init = ['init', '--zone', 'relay.example.com', '--dir', 'keys'];
const suite = suiteWith('a passphrase on a terminal', ['script', 'stty']);
describe.skipIf(suite.skipped)(suite.title, () => {
  test('is typed twice, unseen', async () => {
    onTerminal(...init);
    await shows("A passphrase for the operators' keys: ");
    type(`${SECRET}\r`);
    await shows('The same again: ');
    type(`${SECRET}\r`);
    await shows('exit=0');
    await shows('icanon');
    expect(screen).toMatch(/ icanon .* echo /s);
    for (const word of SECRET.split(' ')) expect(screen).not.toContain(word);
    expect(existsSync(join(root, 'keys/operators.jwe'))).toBe(true);
  });

  test.each([
    ['Ctrl-C', `half of it${CTRL_C}`],
    ['Ctrl-D', CTRL_D],
  ])('%s changes nothing, and leaves the terminal as it was', async (_, keys) => {
    onTerminal(...init);
    await shows("A passphrase for the operators' keys: ");
    type(keys);
    await shows('exit=2');
    await shows('icanon');
    expect(screen).toContain('Interrupted. Nothing was changed.');
    expect(screen).toMatch(/ icanon .* echo /s);
    expect(screen).not.toContain('half of it');
    expect(existsSync(join(root, 'keys'))).toBe(false);
  });
});
