/**
 * One site at each provider, registered with the SDK's own mock engine. First the rules that hold at all of them, then
 * the words that no type checks. What `pulumi up` and the providers do with all this is not shown here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Output } from '@pulumi/pulumi';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { GUARDRAILS, scriptOf } from '../../test/support/guardrails.ts';
import {
  allRegistered,
  type Registered,
  secretsOf,
  startMockEngine,
} from '../../test/support/mock-engine.ts';
import type { SecretFiles, Site, SiteModule, SiteSpec } from '../site.ts';

// The SDKs are large; on a busy machine loading them takes its time.
vi.setConfig({ hookTimeout: 300_000 });

const shared = { relays: 2, redisGb: 20, sizes: {} };
const specs: readonly SiteSpec[] = [
  {
    ...shared,
    name: 'aws',
    provider: 'aws',
    location: 'eu-central-1',
    zones: ['eu-central-1a', 'eu-central-1b'],
    relaysMax: 4,
  },
  {
    ...shared,
    name: 'gcp',
    provider: 'gcp',
    location: 'europe-west3',
    zones: ['europe-west3-a', 'europe-west3-b'],
    relaysMax: 4,
    project: 'example-project',
  },
  {
    ...shared,
    name: 'hetzner',
    provider: 'hetzner',
    location: 'fsn1',
    zones: ['eu-central'],
    relaysMax: 2,
  },
];

const modules: Readonly<Record<SiteSpec['provider'], () => Promise<SiteModule>>> = {
  aws: () => import('./aws.ts'),
  gcp: () => import('./gcp.ts'),
  hetzner: () => import('./hetzner.ts'),
};

let registered: Registered[] = [];
const sites: Record<string, Site> = {};

beforeAll(async () => {
  registered = await startMockEngine();
  for (const spec of specs) {
    const { createSite } = await modules[spec.provider]();
    sites[spec.name] = createSite(spec, {
      isProtected: true,
      release: { sha256: 'ab'.repeat(32), urls: ['https://example.com/archipelago.tar.gz'] },
      manifestKey: 'k'.repeat(43),
      manifestVersionMin: 1,
      // The mocks know nothing of hooks, and nothing answers at the addresses that they make up.
      rolloutTimeoutS: 0,
      nameserverSettings: {},
      secrets: secretsOf(spec) as unknown as SecretFiles,
    });
  }
  await allRegistered();
});

const ofType = (...types: readonly string[]): Registered[] =>
  registered.filter(({ type }) => types.includes(type.split(':').at(-1) ?? ''));
const named = (...names: readonly string[]): Registered[] =>
  registered.filter(({ name }) => names.includes(name));
const textOf = (value: unknown): string => JSON.stringify(value);

describe('at every provider', () => {
  test.each(specs)(
    'a site at $provider has addresses of both families, and they differ',
    async ({ name }) => {
      const site = sites[name];
      if (site === undefined) throw new Error(`no site ${name}`);
      const ipv4 = [...(await valueOf(site.relay.ipv4)), await valueOf(site.nameserver.ipv4)];
      const ipv6 = [...(await valueOf(site.relay.ipv6)), await valueOf(site.nameserver.ipv6)];
      for (const address of ipv4) expect(address).toMatch(/^192\.0\.2\.\d+$/);
      for (const address of ipv6) expect(address).toMatch(/^2001:db8:/);
      expect(new Set([...ipv4, ...ipv6]).size).toBe(ipv4.length + ipv6.length);
    },
  );

  test.each(GUARDRAILS)('$rule', ({ faultsOf }) => {
    expect(faultsOf(registered)).toEqual([]);
  });

  test('Redis lets only the relays of its own site in', () => {
    const toRedis = registered.filter(
      ({ inputs }) => textOf(inputs).includes('6379') && !('userData' in inputs),
    );
    const rules = toRedis.filter(({ type }) => /SecurityGroupIngressRule|compute\/firewall/.test(type));
    expect(rules.map(({ name }) => name).toSorted()).toEqual([
      'aws-redis-from-relay',
      'gcp-redis-from-relay',
    ]);
    // Hetzner's firewalls do not filter the private network, where Redis listens; from outside it is shut.
    const server = (name: string): Registered | undefined =>
      named(name).find(({ type }) => type.endsWith(':Server'));
    const firewall = (name: string): unknown => server(name)?.inputs['firewallIds'];
    expect(named('hetzner-closed')[0]?.inputs).toMatchObject({ rules: [] });
    expect(firewall('hetzner-redis')).toEqual([expect.any(Number)]);
    const others = ['hetzner-relay-0', 'hetzner-relay-1', 'hetzner-nameserver'].map(firewall);
    expect(others).not.toContainEqual(firewall('hetzner-redis'));
    // A firewall that is there before the server's first boot leaves no moment without one.
    for (const shield of others) expect(shield).toEqual([expect.any(Number)]);
  });

  test('load balancers ask /readyz, and what restarts relays asks /livez', () => {
    const ready = registered.filter(({ inputs }) => textOf(inputs).includes('"/readyz"'));
    expect(ready.map(({ type, name }) => `${type.split(':').at(-1)} ${name}`).toSorted()).toEqual([
      'LoadBalancerService hetzner',
      'RegionHealthCheck gcp-ready',
      'TargetGroup aws',
    ]);
    expect(named('gcp-relay-alive')[0]?.inputs).toMatchObject({ httpHealthCheck: { requestPath: '/livez' } });
    for (const { script } of scripts())
      expect(script).toMatch(/^LIVEZ='http:\/\/127\.0\.0\.1:9100\/livez'$/m);
  });

  test('new relays come before old ones go, and single machines go first', () => {
    expect(ofType('Group')[0]?.inputs).toMatchObject({
      instanceRefresh: { strategy: 'Rolling', preferences: { minHealthyPercentage: 100 } },
      initialLifecycleHooks: [{ name: 'alive', defaultResult: 'ABANDON' }],
    });
    expect(ofType('RegionInstanceGroupManager')[0]?.inputs).toMatchObject({
      updatePolicy: { maxUnavailableFixed: 0, maxSurgeFixed: 2 },
    });
    const machines = ofType('Instance', 'Server');
    const single = machines
      .filter(({ deletesBeforeReplace }) => deletesBeforeReplace)
      .map(({ name }) => name);
    expect(single.toSorted()).toEqual(
      specs.flatMap(({ name }) => [`${name}-nameserver`, `${name}-redis`]).toSorted(),
    );
  });
});

test('the policy of docs/deploy.md names every service of AWS that the program uses', () => {
  const document = readFileSync(join(import.meta.dirname, '../../docs/deploy.md'), 'utf8');
  const [, block = ''] = /### AWS[^]*?```json\n([^]*?)```/.exec(document) ?? [];
  const { Statement } = JSON.parse(block) as { Statement: { Action: string | string[] }[] };
  const granted = Statement.flatMap(({ Action }) => Action).map((action) => action.split(':')[0]);
  const services: Readonly<Record<string, string>> = {
    ebs: 'ec2',
    lb: 'elasticloadbalancing',
    vpc: 'ec2',
  };
  const used = registered
    .filter(({ type }) => type.startsWith('aws:'))
    .map(({ type }) => type.replace(/^aws:|\/.*$/g, ''))
    .map((module) => services[module] ?? module);
  // The bucket of the release, and the image that EC2 looks up.
  expect(new Set(granted)).toEqual(new Set([...used, 's3', 'ssm']));
});

/** Words that the providers read and no type checks; the SDKs' own documentation spells several of them wrongly. */
test.each<[string, string, Record<string, unknown>]>([
  ['LoadBalancer', 'aws', { loadBalancerType: 'network', ipAddressType: 'dualstack' }],
  [
    'TargetGroup',
    'aws',
    { protocol: 'TCP', targetType: 'instance', healthCheck: { protocol: 'HTTPS', port: '443' } },
  ],
  ['Listener', 'aws', { protocol: 'TCP', defaultActions: [{ type: 'forward' }] }],
  ['Eip', 'aws-nameserver', { domain: 'vpc' }],
  ['Volume', 'aws-redis', { type: 'gp3' }],
  ['Policy', 'aws-relay', { policyType: 'TargetTrackingScaling' }],
  ['SecurityGroupEgressRule', 'aws-relay-out-ipv4', { ipProtocol: '-1' }],
  ['SecurityGroupIngressRule', 'aws-balancer-tcp-443-ipv6', { ipProtocol: 'tcp', cidrIpv6: '::/0' }],
  ['LaunchTemplate', 'aws-relay', { imageId: 'resolve:ssm:/aws/service/debian/release/13/latest/amd64' }],
  [
    'Group',
    'aws-relay',
    { initialLifecycleHooks: [{ lifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING' }] },
  ],
  ['Subnetwork', 'gcp', { stackType: 'IPV4_IPV6', ipv6AccessType: 'EXTERNAL' }],
  ['Address', 'gcp-relay', { addressType: 'EXTERNAL', networkTier: 'PREMIUM' }],
  ['Address', 'gcp-relay-ipv6', { ipVersion: 'IPV6', ipv6EndpointType: 'NETLB' }],
  ['Address', 'gcp-nameserver-ipv6', { ipVersion: 'IPV6', ipv6EndpointType: 'VM' }],
  [
    'RegionBackendService',
    'gcp',
    { loadBalancingScheme: 'EXTERNAL', protocol: 'TCP', backends: [{ balancingMode: 'CONNECTION' }] },
  ],
  [
    'ForwardingRule',
    'gcp-ipv6',
    { loadBalancingScheme: 'EXTERNAL', ipProtocol: 'TCP', ipVersion: 'IPV6', ports: ['443'] },
  ],
  [
    'RegionInstanceGroupManager',
    'gcp-relay',
    {
      updatePolicy: { type: 'PROACTIVE', minimalAction: 'REPLACE', replacementMethod: 'SUBSTITUTE' },
      waitForInstancesStatus: 'UPDATED',
    },
  ],
  ['Disk', 'gcp-redis', { type: 'pd-ssd' }],
  ['NetworkSubnet', 'hetzner', { type: 'cloud', networkZone: 'eu-central' }],
  [
    'PrimaryIp',
    'hetzner-nameserver',
    { type: 'ipv4', assigneeType: 'server', autoDelete: false, deleteProtection: true },
  ],
  ['PrimaryIp', 'hetzner-nameserver-ipv6', { type: 'ipv6', assigneeType: 'server', autoDelete: false }],
  ['LoadBalancer', 'hetzner', { loadBalancerType: 'lb11', algorithm: { type: 'least_connections' } }],
  [
    'LoadBalancerService',
    'hetzner',
    { protocol: 'tcp', healthCheck: { protocol: 'http', http: { tls: true, statusCodes: ['200'] } } },
  ],
  ['LoadBalancerTarget', 'hetzner-relay-1', { type: 'server', usePrivateIp: true }],
  ['PlacementGroup', 'hetzner-relay', { type: 'spread' }],
  ['Server', 'hetzner-redis', { image: 'debian-13', networks: [{ ip: '10.80.0.10' }] }],
])('%s %s says what the provider wants to read', (type, name, words) => {
  const found = registered.filter((resource) => resource.name === name && resource.type.endsWith(`:${type}`));
  expect(found).toHaveLength(1);
  expect(found[0]?.inputs).toMatchObject(words);
});

/** The boot scripts of all machines, in clear. */
function scripts(): { readonly name: string; readonly script: string }[] {
  return registered.flatMap(({ name, inputs }) => {
    const script = scriptOf(inputs);
    return script === undefined ? [] : [{ name, script }];
  });
}

function valueOf<Value>(output: Output<Value>): Promise<Value> {
  return new Promise((resolve) => {
    output.apply(resolve as never);
  });
}
