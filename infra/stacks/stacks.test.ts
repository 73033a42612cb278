/**
 * Every example stack, as a user would fill it in: the whole program, started as `pulumi up` and `pulumi preview` start
 * it, on an engine that speaks the SDK's own gRPC.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type Registration, type Run, runProgram } from '../../test/support/engine.ts';
import { GUARDRAILS, scriptOf } from '../../test/support/guardrails.ts';
import { computed, isSecret } from '../../test/support/mock-engine.ts';
import { filledStack, readStack, readYaml, STACK_FILES } from '../../test/support/stack-files.ts';
import type { SiteSpec } from '../site.ts';

// Each run loads the SDKs anew; on a busy machine that takes its time.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 600_000 });

const TYPES = { aws: 'aws', gcp: 'gcp', hetzner: 'hcloud' } as const;
// Nothing answers at made-up addresses; rollout.test.ts has the gate.
const NO_GATE = { 'archipelago:rolloutTimeout': 0 };

function run(config: Record<string, unknown>, preview = false): Promise<Run> {
  return runProgram({ config: { ...config, ...NO_GATE }, preview, computedOutputs: computed });
}

describe.each(STACK_FILES)('%s', (file) => {
  const specs = readStack(file)['archipelago:sites'] as SiteSpec[];
  let up: Run;
  let preview: Run;

  beforeAll(async () => {
    up = await run(filledStack(file));
    preview = await run(filledStack(file), true);
  });

  test('comes up and can be previewed, and no run asks a provider anything', () => {
    for (const { code, said, invoked } of [up, preview]) {
      expect(said).not.toMatch(/error|warn/i);
      expect(code).toBe(0);
      expect(invoked).toEqual([]);
    }
    expect(preview.registered.map(({ urn }) => urn).toSorted()).toEqual(
      up.registered.map(({ urn }) => urn).toSorted(),
    );
    expect(preview.created).toEqual([]);
  });

  test('registers types of its own providers only, each with the version that is pinned', () => {
    const own = specs.map(({ provider }) => TYPES[provider]);
    const packages = up.registered.map(({ type }) => type.replace('pulumi:providers:', '').split(':')[0]);
    expect(new Set(packages)).toEqual(new Set(own));
    for (const { version, type } of up.registered) expect(version, type).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test.each(GUARDRAILS)('$rule', ({ faultsOf }) => {
    expect(faultsOf(up.registered)).toEqual([]);
  });

  test('gives the addresses of each site, lists where there may be several, and nothing secret', () => {
    expect(isSecret(up.outputs)).toBe(false);
    const { sites, ...more } = up.outputs as { sites: Record<string, unknown> };
    expect(more).toEqual({});
    expect(Object.keys(sites)).toEqual(specs.map(({ name }) => name));
    const ipv4 = expect.stringMatching(/^192\.0\.2\.\d+$/);
    const ipv6 = expect.stringMatching(/^2001:db8:[0-9a-f:]+$/);
    for (const { name, provider } of specs) {
      const several = provider === 'aws' ? 2 : 1;
      expect(sites[name]).toEqual({
        relay: { ipv4: Array(several).fill(ipv4), ipv6: Array(several).fill(ipv6) },
        nameserver: { ipv4, ipv6 },
      });
    }
  });

  test('starts no machine before what it needs is there', () => {
    for (const { name, provider, relays } of specs) {
      const at = (label: string): Registration => find(up, label);
      const redis = provider === 'hetzner' ? `Server ${name}-redis` : `Instance ${name}-redis`;
      if (provider === 'aws') {
        expect(at(`Group ${name}-relay`).after).toContain(redis);
        expect(at(`Instance ${name}-nameserver`).after).toContain(`EipAssociation ${name}-nameserver`);
        expect(at(`LaunchTemplate ${name}-relay`).after).toContain(`SecretVersion ${name}-relay`);
      } else if (provider === 'gcp') {
        expect(at(`RegionInstanceGroupManager ${name}-relay`).after).toContain(redis);
        expect(at(`Instance ${name}-nameserver`).after).toContain(`SecretVersion ${name}-nameserver`);
      } else {
        expect(at(`Server ${name}-relay-0`).after).toContain(redis);
        for (let index = 0; index < relays; index += 1) {
          const target = at(`LoadBalancerTarget ${name}-relay-${index}`);
          expect(target.after).toContain(`LoadBalancerNetwork ${name}`);
          expect(target.after).toContain(`Server ${name}-relay-${index}`);
        }
        expect(at(`Server ${name}-relay-1`).after).toContain(`LoadBalancerTarget ${name}-relay-0`);
      }
    }
  });

  test('tells every relay where its own nameserver is, for the first manifest', () => {
    const scripts = up.registered.flatMap(({ name, inputs }) => {
      const script = scriptOf(inputs);
      return script === undefined ? [] : [{ name, from: /RELAY_MANIFEST_FROM=([^'\n]*)/.exec(script)?.[1] }];
    });
    const { sites } = up.outputs as { sites: Record<string, { nameserver: { ipv4: string } }> };
    expect(scripts.length).toBeGreaterThanOrEqual(3 * specs.length);
    for (const { name, from } of scripts) {
      const [site = ''] = name.split('-');
      expect(from, name).toBe(name.includes('-relay') ? `${sites[site]?.nameserver.ipv4}:443` : undefined);
    }
  });
});

test('a stack with faults registers nothing, and is told all of them in one message', async () => {
  const { code, said, registered } = await run({
    'archipelago:sites': [{ name: 'aws', provider: 'aws' }],
    'archipelago:protect': 'perhaps',
    'archipelago:manifestVersionMin': 'x',
  });
  expect(code).not.toBe(0);
  expect(registered).toEqual([]);
  expect(said.match(/has faults/g)).toHaveLength(1);
  const paths = 'sites[0].location sites[0].zones[0] release.sha256 manifestKey manifestVersionMin protect';
  for (const path of [...paths.split(' '), 'secrets.aws.relay.tls-key']) {
    const line = said.split('\n').find((text) => text.includes(`archipelago:${path}: expected`)) ?? '';
    expect(line, path).toMatch(/run pulumi config set .*--path 'archipelago:/);
  }
  expect(said).not.toContain('at file:');
});

test('an example that nobody filled in is refused: its key is no key, its release no release', async () => {
  const { said, registered } = await run(readStack('Pulumi.aws.yaml'));
  expect(said).toMatch(/archipelago:release\.sha256: [^]*archipelago:manifestKey: /);
  expect(registered).toEqual([]);
});

test('protect: false takes the protection away, for a stack that is torn down', async () => {
  const { registered } = await run({ ...filledStack('Pulumi.all.yaml'), 'archipelago:protect': false });
  expect(registered.length).toBeGreaterThan(100);
  const guarded = registered.filter(
    ({ isProtected, inputs }) =>
      isProtected || inputs['deleteProtection'] === true || inputs['enableDeletionProtection'] === true,
  );
  expect(guarded).toEqual([]);
});

test('a release that is a file goes to the own object store first, and only own machines read it there', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-release-'));
  try {
    const file = join(directory, 'archipelago.tar.gz');
    writeFileSync(file, 'an archive');
    const config = filledStack('Pulumi.all.yaml');
    const urls = ['https://example.com/archipelago.tar.gz'];
    const { code, registered } = await run({ ...config, 'archipelago:release': { file, urls } });
    expect(code).toBe(0);
    for (const { rule, faultsOf } of GUARDRAILS) expect(faultsOf(registered), rule).toEqual([]);
    const stores: Record<string, string> = { aws: 's3://', gcp: 'gs://', hetzner: 'https://' };
    for (const { name, inputs } of registered) {
      const listed = /^RELEASE_URLS='(.*)'$/m.exec(scriptOf(inputs) ?? '')?.[1]?.split(' ');
      if (listed === undefined || name.endsWith('-redis')) continue;
      expect(listed[0], name).toContain(stores[name.split('-')[0] ?? '']);
      expect(listed.at(-1)).toBe(urls[0]);
    }
    const readers = registered.filter(({ inputs }) =>
      /s3:GetObject|objectViewer/.test(JSON.stringify(inputs)),
    );
    expect(readers.map(({ name }) => name).toSorted()).toEqual([
      'aws-nameserver',
      'aws-relay',
      'gcp-nameserver-release',
      'gcp-relay-release',
    ]);
    const archives = registered.filter(({ type }) => /BucketObject(v2)?$/.test(type));
    expect(archives.map(({ inputs }) => inputs['key'] ?? inputs['name'])).toEqual(
      Array(2).fill(expect.stringMatching(/^archipelago-[0-9a-f]{64}\.tar\.gz$/)),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('the settings of the program are described in Pulumi.yaml, and no others; none is required there', () => {
  const { config } = readYaml('Pulumi.yaml') as { config: Record<string, object> };
  const known = 'sites release manifestKey manifestVersionMin protect rolloutTimeout acme secrets';
  expect(Object.keys(config).toSorted()).toEqual(known.split(' ').toSorted());
  for (const setting of Object.values(config)) {
    expect(setting).toHaveProperty('type');
    expect(setting).toHaveProperty('description');
    // Without a default the CLI would stop at what is missing, before the program can tell everything.
    expect(setting).toHaveProperty('default');
  }
});

function find({ registered }: Run, label: string): Registration {
  const found = registered.filter(({ type, name }) => `${type.split(':').at(-1)} ${name}` === label);
  expect(found, label).toHaveLength(1);
  return found[0] as Registration;
}
