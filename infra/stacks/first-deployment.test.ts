/**
 * From nothing to the first manifest, as docs/deploy.md has it: keys of three sites, each into the configuration of its
 * own stack by the script that `fleet add-site` wrote, the whole program on what came of it, and the stacks' outputs
 * into the manifest. Only the CLI is not the real one: it notes what it is told.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openManifest } from '../../fleet/manifest/signed.ts';
import { type Run, runProgram } from '../../test/support/engine.ts';
import { GUARDRAILS, scriptOf } from '../../test/support/guardrails.ts';
import { computed } from '../../test/support/mock-engine.ts';
import { createOperators, type Operators } from '../../test/support/operators.ts';
import { filledStack } from '../../test/support/stack-files.ts';

vi.setConfig({ testTimeout: 300_000 });

const SITES = ['aws', 'gcp', 'hetzner'];
/** Notes each setting as a line of JSON: its path, and its value from the command line or from standard input. */
const NOTING_CLI = `#!${process.execPath}
const words = process.argv.slice(2);
const at = words.findIndex((word) => word.startsWith('archipelago:'));
const value = words[at + 1] ?? require('node:fs').readFileSync(0, 'utf8').replace(/\\n$/, '');
require('node:fs').appendFileSync(process.env.NOTES, JSON.stringify([words[at], value]) + '\\n');
`;

test('what the fleet command makes is what the stacks ask for, and their outputs are what it composes', async () => {
  using operators = createOperators();
  await operators.found('relay.example.com');
  const outputs: string[] = [];
  for (const [index, site] of SITES.entries()) {
    expect(await operators.run('add-site', site)).toMatchObject({ code: 0 });
    const up = await bringUp(operators, site, 80 * index);
    expect(up.said).toBe('');
    expect(up.code).toBe(0);
    for (const { rule, faultsOf } of GUARDRAILS) expect(faultsOf(up.registered), rule).toEqual([]);
    const nameserver = up.registered.find(
      ({ name, inputs }) => name === `${site}-nameserver` && scriptOf(inputs) !== undefined,
    );
    expect(scriptOf(nameserver?.inputs ?? {})).toContain(
      'VANTAGE_ACME_DIRECTORY=https://acme.example/directory',
    );
    outputs.push(operators.file(`${site}.json`, JSON.stringify(up.outputs)));
  }
  expect(await operators.run('compose', ...outputs)).toMatchObject({ code: 0 });
  expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });

  const read = (name: string): string => readFileSync(join(operators.path, name), 'utf8');
  const opened = await openManifest(read('manifest.jws'), read('operators.pub').trim(), 1);
  const sites = opened.ok ? opened.value.sites : [];
  expect(sites.map(({ name, relay }) => [name, relay.ipv4.length, relay.ipv6.length])).toEqual([
    ['aws', 2, 2],
    ['gcp', 1, 1],
    ['hetzner', 1, 1],
  ]);
});

/** Runs the site's script with the noting CLI, and the program with what it noted. */
async function bringUp(operators: Operators, site: string, countFrom: number): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-cli-'));
  try {
    const cli = join(directory, 'pulumi');
    const notes = join(directory, 'notes');
    writeFileSync(cli, NOTING_CLI);
    chmodSync(cli, 0o755);
    const script = join(operators.path, 'sites', site, 'set-secrets.sh');
    const env = { PATH: `${directory}:${process.env['PATH']}`, NOTES: notes };
    expect(spawnSync('sh', [script, site], { env, encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
    const noted = readFileSync(notes, 'utf8').trim().split('\n');
    const secrets: Record<string, Record<string, Record<string, string>>> = {};
    let manifestKey = '';
    for (const line of noted) {
      const [path, value] = JSON.parse(line) as [string, string];
      const [of = '', role = '', file = ''] = path.replace('archipelago:secrets.', '').split('.');
      if (path === 'archipelago:manifestKey') manifestKey = value;
      else ((secrets[of] ??= {})[role] ??= {})[file] = value;
    }
    return await runProgram({
      config: {
        ...filledStack(`Pulumi.${site}.yaml`),
        'archipelago:manifestKey': manifestKey,
        'archipelago:secrets': secrets,
        'archipelago:acme': { directory: 'https://acme.example/directory' },
        'archipelago:rolloutTimeout': 0,
      },
      computedOutputs: (name, count) => computed(name, countFrom + count),
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}
