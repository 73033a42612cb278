/**
 * The addresses of a site at each provider, registered with the SDK's own mock engine. What `pulumi up` itself does
 * with them is not shown here.
 */
import { runtime } from '@pulumi/pulumi';
import type { MockResourceArgs } from '@pulumi/pulumi/runtime/mocks.js';
import { beforeAll, expect, test } from 'vitest';
import type { SiteSpec } from '../site.ts';

const registered: MockResourceArgs[] = [];

beforeAll(async () => {
  await runtime.setMocks({
    newResource: (args) => {
      registered.push(args);
      const address = `192.0.2.${registered.length}`;
      return {
        id: `${args.name}-id`,
        state: { ...args.inputs, publicIp: address, address, ipAddress: address },
      };
    },
    call: () => {
      throw new Error('an invoke would need the provider to be up');
    },
  });
});

const specs: readonly SiteSpec[] = [
  { name: 'aws', provider: 'aws', location: 'eu-central-1' },
  { name: 'gcp', provider: 'gcp', location: 'europe-west3' },
  { name: 'hetzner', provider: 'hetzner', location: 'fsn1' },
];

test.each(specs)('a site at $provider has two static addresses that differ', async (spec) => {
  const { createSite } = await importSite(spec.provider);
  const site = createSite(spec, { isProtected: true });
  const relay = await valueOf(site.relay.ipv4);
  const nameserver = await valueOf(site.nameserver.ipv4);
  expect(relay).toMatch(/^192\.0\.2\.\d+$/);
  expect(nameserver).toMatch(/^192\.0\.2\.\d+$/);
  expect(relay).not.toBe(nameserver);
});

test('an address at Hetzner survives the server it was assigned to', () => {
  const addresses = registered.filter(({ type }) => type.startsWith('hcloud:index/primaryIp'));
  expect(addresses).toHaveLength(2);
  for (const { inputs } of addresses) {
    expect(inputs).toMatchObject({ type: 'ipv4', autoDelete: false, deleteProtection: true });
  }
});

async function importSite(provider: SiteSpec['provider']): Promise<typeof import('./aws.ts')> {
  switch (provider) {
    case 'aws':
      return import('./aws.ts');
    case 'gcp':
      return import('./gcp.ts');
    case 'hetzner':
      return import('./hetzner.ts');
  }
}

function valueOf<Value>(output: { apply: (take: (value: Value) => void) => unknown }): Promise<Value> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
