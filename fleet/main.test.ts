/** The `fleet` command as a process of its own, as operators run it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { createOperators, PASSPHRASE, stackOutput } from '../test/support/operators.ts';

const MAIN = join(import.meta.dirname, 'main.mjs');

test('a command whose reader went away is done to its end, and says no stack trace', async () => {
  using operators = createOperators();
  await operators.found('relay.example.com');
  for (const site of ['aws', 'gcp']) await operators.run('add-site', site);
  await operators.run('compose', operators.file('output.json', stackOutput(['aws', 'gcp'])));
  const command = spawn(process.execPath, [MAIN, 'sign', '--yes', '--dir', operators.path], {
    env: { ...process.env, FLEET_PASSPHRASE: PASSPHRASE },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  command.stdout.destroy();
  const [said, [code]] = await Promise.all([text(command.stderr), once(command, 'exit')]);
  expect(said).toBe('');
  expect(code).toBe(0);
  expect(existsSync(join(operators.path, 'manifest.jws'))).toBe(true);
});
