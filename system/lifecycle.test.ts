/** The life of a process, shown with real processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';

const PROGRAM = `
  import { systemClock } from './system/clock.ts';
  import { runUntilStopped } from './system/lifecycle.ts';
  import { createLog, writeToStdout } from './system/log.ts';
  const log = createLog({ clock: systemClock, base: {}, level: 'info', write: writeToStdout });
  await runUntilStopped(
    async (resources) => {
      resources.defer(async () => log.info('first'));
      resources.defer(async () => log.info('second'));
      BODY
      log.info('started');
    },
    { log, clock: systemClock, stopWithinMs: 300, stopWhenStdinEnds: STDIN },
  );
`;

function run(body: string, stopWhenStdinEnds: boolean): { child: ChildProcess; events: string[] } {
  const program = PROGRAM.replace('BODY', body).replace('STDIN', String(stopWhenStdinEnds));
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: `${import.meta.dirname}/..`,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const events: string[] = [];
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { event } = JSON.parse(line) as { event: string };
      events.push(event);
      if (event === 'started') child.emit('started');
    }
  });
  return { child, events };
}

test('SIGTERM releases everything, last resource first, and ends with 0', async () => {
  const { child, events } = run('', false);
  await once(child, 'started');
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(events).toEqual(['started', 'stopping', 'second', 'first', 'stopped']);
});

test('the end of standard input stops a child whose parent has gone', async () => {
  const { child, events } = run('', true);
  await once(child, 'started');
  child.stdin?.end();
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(events).toContain('stopped');
});

test('a start that fails releases what it made and ends with 1', async () => {
  const { child, events } = run("throw new Error('no');", false);
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(events).toEqual(['failed', 'second', 'first', 'stopped']);
});

test('a release that hangs is ended by force', async () => {
  const { child, events } = run(
    'resources.defer(() => new Promise(() => setInterval(() => 0, 1000)));',
    false,
  );
  await once(child, 'started');
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(events).toContain('stop took too long');
});
