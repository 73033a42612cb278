/**
 * The local fleet as a person uses it: the commands it prints work, wrong usage gets a sentence, and whatever ends
 * it, nothing is left behind.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { argumentsOf, familyOf, runFleetCommand, untilNothingIsLeft } from '../support/fleet-command.ts';

const mustRun = process.env['CI_NO_SKIP'] === '1';
const has = (tool: string, flag: string): boolean => mustRun || spawnSync(tool, [flag]).status === 0;
const MINUTE_MS = 60_000;

describe.skipIf(!has('curl', '--version') || !has('dig', '-v'))(
  'what `npm start` prints (skipped where curl or dig is missing)',
  () => {
    test('works: the message that curl posts is printed, and dig sees every site', {
      timeout: MINUTE_MS,
    }, async () => {
      const command = runFleetCommand(['start', '--store', 'memory']);
      try {
        await command.untilSaid('Ctrl-C stops everything');
        const printed = command.output();
        expect(printed).toContain('NOT DURABLE');
        const dig = /^ {2}(dig .*)$/m.exec(printed)?.[1] ?? 'false';
        expect(execFileSync('sh', ['-c', dig], { encoding: 'utf8' }).match(/\sA\s+127\./g)).toHaveLength(3);
        const curl = /^ {2}(curl (?:.*\\\n)*.*)$/m.exec(printed)?.[1] ?? 'false';
        expect(execFileSync('sh', ['-c', curl], { encoding: 'utf8' })).toContain(' 201 ');
        await command.untilSaid('received: Hello from a message');
      } finally {
        command.process.kill('SIGINT');
        expect(await command.ended).toBe(0);
      }
    });
  },
);

describe.each([
  ['memory', false],
  ['redis', !has('redis-server', '--version')],
] as const)('a fleet on %s', (store, skipped) => {
  describe.skipIf(skipped)('(skipped where its store is missing)', () => {
    test('leaves nothing when its parent is killed', { timeout: MINUTE_MS }, async () => {
      const command = runFleetCommand(['start', '--store', store]);
      await command.untilSaid('Ctrl-C stops everything');
      const directory = await command.directory();
      const family = familyOf(command.process.pid ?? 0);
      expect(family.length).toBeGreaterThanOrEqual(store === 'redis' ? 10 : 7);
      command.process.kill('SIGKILL');
      expect(await command.ended).toBe('SIGKILL');
      await untilNothingIsLeft(family, directory);
    });
  });
});

test('a process that dies ends the fleet, with its name and its last words', {
  timeout: MINUTE_MS,
}, async () => {
  const command = runFleetCommand(['start', '--store', 'memory']);
  await command.untilSaid('Ctrl-C stops everything');
  const directory = await command.directory();
  const family = familyOf(command.process.pid ?? 0);
  const [relay] = family.find(([pid]) => argumentsOf(pid).endsWith('relay/main.ts')) ?? [0];
  process.kill(relay, 'SIGKILL');
  expect(await command.ended).toBe(1);
  expect(command.output()).toMatch(/-relay ended by itself \(SIGKILL\)\.\n {4}\{"time"/);
  await untilNothingIsLeft(family, directory);
});

describe('Ctrl-C', () => {
  test('in the middle of the start stops and removes everything', { timeout: MINUTE_MS }, async () => {
    const command = runFleetCommand(['start', '--store', 'memory']);
    const directory = await command.directory();
    const family = familyOf(command.process.pid ?? 0);
    command.process.kill('SIGINT');
    expect(await command.ended).toBe(0);
    await untilNothingIsLeft(family, directory);
  });

  test('in the middle of a drill is "aborted", and removes everything', { timeout: MINUTE_MS }, async () => {
    const command = runFleetCommand(['drill', '--store', 'memory']);
    await command.untilSaid('warming up');
    const directory = await command.directory();
    const family = familyOf(command.process.pid ?? 0);
    command.process.kill('SIGINT');
    expect(await command.ended).toBe(3);
    expect(command.output()).toContain('RESULT: aborted. Interrupted by SIGINT.');
    await untilNothingIsLeft(family, directory);
  });

  test('twice kills at once, and still leaves nothing', { timeout: MINUTE_MS }, async () => {
    const command = runFleetCommand(['start', '--store', 'memory']);
    await command.untilSaid('Ctrl-C stops everything');
    const directory = await command.directory();
    const family = familyOf(command.process.pid ?? 0);
    command.process.kill('SIGINT');
    await command.untilSaid('Once more to kill at once');
    command.process.kill('SIGINT');
    // Stopping may have won the race; either way nothing may be left.
    expect([0, 1]).toContain(await command.ended);
    await untilNothingIsLeft(family, directory);
  });
});

describe('wrong usage ends with exit code 64 and says what to do', () => {
  test('a flag that does not exist', async () => {
    const command = runFleetCommand(['drill', '--sight', 'aws']);
    expect(await command.ended).toBe(64);
    expect(command.output()).toContain('drill does not know "--sight"; did you mean --site?');
  });

  test('a port that is taken', async () => {
    const server = createServer().listen(0, '0.0.0.0');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    try {
      const command = runFleetCommand(['start', '--store', 'memory', '--port', String(port)]);
      expect(await command.ended).toBe(64);
      expect(command.output()).toMatch(
        new RegExp(`Port ${port} cannot be used: 127[.\\d]+:${port} is taken\\.`),
      );
    } finally {
      server.close();
    }
  });

  test('Redis asked for and not there', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'archipelago-empty-path-'));
    try {
      const command = runFleetCommand(['drill', '--store', 'redis'], { PATH: empty });
      expect(await command.ended).toBe(64);
      expect(command.output()).toContain('there is no redis-server on the PATH');
    } finally {
      rmSync(empty, { recursive: true, force: true });
    }
  });

  test('a Node that is too old', () => {
    const pretend = "Object.defineProperty(process.versions, 'node', { value: '20.20.2' })";
    const door = join(import.meta.dirname, '../../fleet/main.mjs');
    const seen = spawnSync(process.execPath, ['-e', `${pretend}; import(${JSON.stringify(door)})`], {
      encoding: 'utf8',
    });
    expect(seen.status).toBe(64);
    expect(seen.stderr).toContain('this is Node 20.20.2');
  });
});
