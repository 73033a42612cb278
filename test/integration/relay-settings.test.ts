/**
 * A relay that cannot run says why in one sentence, and ends with the code of what is wrong.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { relayEnvironment } from '../../fleet/local/relay-environment.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;

let sites: RelaySites;

beforeEach(async () => {
  sites = await createRelaySites();
});

afterEach(async () => {
  await sites[Symbol.asyncDispose]();
});

/** Runs a relay that is expected to end by itself. */
async function runRelay(environment: Readonly<Record<string, string>>): Promise<{
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}> {
  const child = spawn(process.execPath, ['relay/main.ts'], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...environment },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

function settingsOf(site: string): Readonly<Record<string, string>> {
  const layout = sites.layouts.find(({ name }) => name === site);
  if (layout === undefined) throw new Error(`no site ${site}`);
  const settings = relayEnvironment(layout, sites.ports, sites.identities);
  // It would end at once: these tests give it no standard input.
  return { ...settings, RELAY_STORE: 'memory', RELAY_STOP_WITH_STDIN: 'no' };
}

describe('a relay that cannot run says why', () => {
  test('with one sentence for each fault of its settings', { timeout: MINUTE_MS }, async () => {
    const nothing = await runRelay({});
    expect(nothing.code).toBe(64);
    expect(nothing.stdout).toBe('');
    const missing = nothing.stderr.trimEnd().split('\n');
    expect(missing).toContain("RELAY_SITE: expected this site's name in the manifest, got nothing");
    expect(missing.every((line) => /^RELAY_[A-Z_]+: expected .+, got nothing$/.test(line))).toBe(true);

    const wrong = await runRelay({
      ...settingsOf('aws'),
      RELAY_BODY_BYTES_MAX: '12',
      RELAY_HEARTBAET_MS: '5000',
    });
    expect(wrong.code).toBe(64);
    expect(wrong.stderr.trimEnd().split('\n')).toEqual([
      'RELAY_BODY_BYTES_MAX: expected a whole number between 4096 and 1048576, got "12"',
      'RELAY_HEARTBAET_MS: no such setting; did you mean RELAY_HEARTBEAT_MS?',
    ]);
  });

  test.each<[string, Readonly<Record<string, string>>, string]>([
    ['production without a durable store', { RELAY_ENVIRONMENT: 'production' }, 'RELAY_STORE: memory loses'],
    ['Redis without an address', { RELAY_STORE: 'redis' }, 'RELAY_REDIS: expected the address and port'],
    ['minting by token without tokens', { RELAY_MINTING: 'token' }, 'RELAY_OPERATOR_TOKENS: expected a file'],
    ['a manifest in no directory', { RELAY_MANIFEST: '/no/such/file' }, 'RELAY_MANIFEST: expected the path'],
  ])('%s', async (_, environment, sentence) => {
    const { code, stderr } = await runRelay({ ...settingsOf('aws'), ...environment });
    expect(stderr).toContain(sentence);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(code).toBe(64);
  });

  test('secrets that are none, without repeating them', { timeout: MINUTE_MS }, async () => {
    const path = join(sites.directory, 'broken.json');
    writeFileSync(path, '{"capabilityKeys":[{"id":"AAAAAA","key":"do-not-tell"}],"pepper":"nor-this"}');
    const { code, stdout, stderr } = await runRelay({ ...settingsOf('aws'), RELAY_SECRETS: path });
    expect(code).toBe(64);
    expect(stderr).toContain('RELAY_SECRETS: secrets.pepper');
    expect(stdout + stderr).not.toMatch(/do-not-tell|nor-this/);
  });

  test('a port that is taken', { timeout: MINUTE_MS }, async () => {
    const [layout] = sites.layouts;
    const address = `${layout?.relayAddress}:${sites.ports.relay}`;
    const taken = createServer().listen(sites.ports.relay, layout?.relayAddress);
    await once(taken, 'listening');
    const { code, stdout } = await runRelay(settingsOf('aws'));
    taken.close();
    expect(code).toBe(1);
    expect(stdout).toContain(`RELAY_LISTEN: cannot listen at ${address}: another process listens there`);
  });
});
