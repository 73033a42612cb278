/**
 * Every example stack, as a user would fill it in: the whole program on the SDK's own mock engine.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Output } from '@pulumi/pulumi';
import { beforeAll, beforeEach, expect, test, vi } from 'vitest';
import {
  allRegistered,
  type Registered,
  secretsOf,
  setStackConfig,
  startMockEngine,
} from '../../test/support/mock-engine.ts';
import type { Site, SiteSpec } from '../site.ts';

const TYPES = { aws: 'aws:', gcp: 'gcp:', hetzner: 'hcloud:' } as const;
const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.yaml'));
let registered: Registered[] = [];

beforeAll(async () => {
  registered = await startMockEngine();
});

beforeEach(() => {
  registered.length = 0;
  vi.resetModules();
});

test.each(files)('%s brings up its sites, and needs the SDK of no other provider', async (file) => {
  const config = readStack(file);
  const specs = config['archipelago:sites'] as SiteSpec[];
  setStackConfig({ ...config, 'archipelago:secrets': secretsFor(specs) });
  const { sites } = await import('../index.ts');
  await allRegistered();

  const prefixes = specs.map(({ provider }) => TYPES[provider]);
  const foreign = registered.filter(
    ({ type }) =>
      !prefixes.some((prefix) => type.replace('pulumi:providers:', '').startsWith(prefix.slice(0, -1))),
  );
  expect(foreign).toEqual([]);
  expect(Object.keys(sites)).toEqual(specs.map(({ name }) => name));
  for (const site of Object.values(sites)) {
    expect(await valueOf(site.relay.ipv4)).not.toEqual([]);
    expect(await valueOf(site.relay.ipv6)).not.toEqual([]);
    expect(await valueOf(site.nameserver.ipv4)).toMatch(/\./);
    expect(await valueOf(site.nameserver.ipv6)).toMatch(/:/);
  }
});

test('a stack with faults registers nothing, and is told all of them in one message', async () => {
  setStackConfig({ 'archipelago:sites': [{ name: 'aws', provider: 'aws' }] });
  await expect(import('../index.ts')).rejects.toThrow(
    /sites\[0\]\.location[^]*sites\[0\]\.zones[^]*release\.sha256[^]*manifestKey/,
  );
  await allRegistered();
  expect(registered).toEqual([]);
});

test('protect: false takes the protection away, for a stack that is torn down', async () => {
  const config = readStack('Pulumi.hetzner.yaml');
  const specs = config['archipelago:sites'] as SiteSpec[];
  setStackConfig({ ...config, 'archipelago:secrets': secretsFor(specs), 'archipelago:protect': false });
  await import('../index.ts');
  await allRegistered();
  expect(registered.length).toBeGreaterThan(10);
  expect(
    registered.filter(({ isProtected, inputs }) => isProtected || inputs['deleteProtection'] === true),
  ).toEqual([]);
});

test('the settings of the program are described in Pulumi.yaml, and no others', () => {
  const project = parse(join(import.meta.dirname, '../../Pulumi.yaml')) as { config: Record<string, object> };
  const index = readFileSync(join(import.meta.dirname, '../index.ts'), 'utf8');
  const read = [...index.matchAll(/config\.get\w*\('(\w+)'\)/g)].map(([, name = '']) => name);
  expect(Object.keys(project.config).toSorted()).toEqual(read.toSorted());
  for (const setting of Object.values(project.config)) expect(setting).toHaveProperty('description');
});

function readStack(file: string): Record<string, unknown> {
  return (parse(join(import.meta.dirname, file)) as { config: Record<string, unknown> }).config;
}

/** With the reader of YAML that the SDK brings along. */
function parse(path: string): unknown {
  const require = createRequire(createRequire(import.meta.url).resolve('@pulumi/pulumi'));
  const { load } = require('js-yaml') as { load: (text: string) => unknown };
  return load(readFileSync(path, 'utf8'));
}

function secretsFor(specs: readonly SiteSpec[]): Record<string, unknown> {
  return Object.fromEntries(specs.map((spec) => [spec.name, secretsOf(spec)]));
}

function valueOf<Value>(output: Output<Value> | Site[keyof Site]): Promise<unknown> {
  return new Promise((resolve) => {
    (output as Output<unknown>).apply(resolve as never);
  });
}
