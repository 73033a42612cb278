/**
 * One site at each provider, registered with the SDK's own mock engine. First the rules that hold at all of them, then
 * the words that no type checks. What `pulumi up` and the providers do with all this is not shown here.
 */
import type { Output } from '@pulumi/pulumi';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  allRegistered,
  isSecret,
  type Registered,
  secretsOf,
  startMockEngine,
  unwrapped,
} from '../../test/support/mock-engine.ts';
import { BOOT_BYTES_MAX } from '../boot.ts';
import type { SecretFiles, Site, SiteModule, SiteSpec } from '../site.ts';

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

  test('addresses, and what they or the messages cannot survive, are protected', () => {
    const kept = ofType(
      'Eip',
      'Address',
      'PrimaryIp',
      'LoadBalancer',
      'Vpc',
      'Subnet',
      'Subnetwork',
      'Volume',
      'Disk',
    );
    expect(kept.length).toBeGreaterThanOrEqual(18);
    expect(kept.filter(({ isProtected }) => !isProtected).map(({ type, name }) => `${type} ${name}`)).toEqual(
      [],
    );
  });

  test('the world reaches 443/tcp and 53, and nothing else', () => {
    const open = registered.flatMap((resource) => doorsOf(resource));
    expect(open.length).toBeGreaterThanOrEqual(15);
    expect([...new Set(open)].toSorted()).toEqual(['tcp 443', 'tcp 53', 'udp 53']);
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
    for (const { inputs } of rules) expect(textOf(inputs)).not.toMatch(/0\.0\.0\.0|::\/0/);
    // Hetzner's firewalls do not filter the private network, where Redis listens; from outside it is shut.
    expect(named('hetzner-closed')[0]?.inputs).toMatchObject({ rules: [] });
    expect(named('hetzner-redis').map(({ inputs }) => inputs['firewallIds'])).toContainEqual(
      named('hetzner-relay-0').find(({ type }) => type.endsWith(':Server'))?.inputs['firewallIds'],
    );
  });

  test('the disk of Redis is encrypted', () => {
    expect(named('aws-redis').find(({ type }) => type.endsWith(':Volume'))?.inputs).toMatchObject({
      encrypted: true,
    });
    expect(scriptsOf('hetzner-redis')[0]).toContain("DISK_KEY='/etc/archipelago/secret/disk-key'");
    // Google has no unencrypted disks.
    expect(ofType('Disk').map(({ name }) => name)).toEqual(['gcp-redis']);
    for (const { inputs } of ofType('LaunchTemplate')) {
      expect(inputs['blockDeviceMappings']).toMatchObject([{ ebs: { encrypted: 'true' } }]);
    }
  });

  test('load balancers ask /readyz, and what replaces machines never does', () => {
    const ready = registered.filter(({ inputs }) => textOf(inputs).includes('"/readyz"'));
    expect(ready.map(({ type, name }) => `${type.split(':').at(-1)} ${name}`).toSorted()).toEqual([
      'LoadBalancerService hetzner',
      'RegionHealthCheck gcp-ready',
      'TargetGroup aws',
    ]);
    expect(named('gcp-relay-alive')[0]?.inputs).toMatchObject({ httpHealthCheck: { requestPath: '/livez' } });
    const [group] = ofType('RegionInstanceGroupManager');
    expect(textOf(group?.inputs['autoHealingPolicies'])).toContain('gcp-relay-alive');
    expect(ofType('Group')[0]?.inputs).toMatchObject({ healthCheckType: 'EC2' });
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

  test('no machine can be entered, and its metadata service is guarded', () => {
    for (const { inputs } of ofType('LaunchTemplate')) {
      expect(inputs['metadataOptions']).toMatchObject({ httpTokens: 'required', httpPutResponseHopLimit: 1 });
      expect(inputs).not.toHaveProperty('keyName');
    }
    for (const { inputs } of [...ofType('RegionInstanceTemplate'), ...registered.filter(isGcpInstance)]) {
      expect(inputs['metadata']).toMatchObject({
        'block-project-ssh-keys': 'true',
        'serial-port-enable': 'false',
      });
      expect(inputs['shieldedInstanceConfig']).toMatchObject({ enableSecureBoot: true });
    }
    for (const { inputs } of ofType('Server')) expect(inputs).not.toHaveProperty('sshKeys');
    for (const { script } of scripts()) expect(script).toContain('IPAddressDeny=169.254.169.254');
  });

  test('secret files go nowhere that is not marked secret', () => {
    const content = Buffer.from('THE-CONTENT-OF-tls-key').toString('base64').slice(0, 20);
    const holders = registered.filter(({ inputs }) => textOf(inputs).includes(content));
    // Relay and nameserver at two providers with a store; all four machines at the third.
    expect(holders).toHaveLength(8);
    for (const { name, inputs } of holders) {
      const clear = Object.values(inputs).filter(
        (value) => textOf(value).includes(content) && !isSecret(value),
      );
      expect(clear, name).toEqual([]);
    }
    for (const { inputs } of ofType('LaunchTemplate')) {
      const script = Buffer.from(String(inputs['userData']), 'base64').toString();
      expect(script).not.toContain(content);
    }
  });

  test('a machine may read its own secret files and nothing else', () => {
    for (const { name, inputs } of ofType('RolePolicy')) {
      const policy = String(unwrapped(inputs['policy']));
      expect(policy).toContain(`"Resource":"arn:${name}"`);
      expect(policy).not.toMatch(/"Action":"\*"|"Resource":"\*"/);
    }
    expect(new Set(ofType('SecretIamMember').map(({ inputs }) => inputs['role']))).toEqual(
      new Set(['roles/secretmanager.secretAccessor']),
    );
  });

  test('the boot script of every machine fits into what its provider takes', () => {
    expect(scripts()).toHaveLength(10);
    for (const { name, script } of scripts()) {
      const bytesMax = name.startsWith('hetzner') ? 32_768 : BOOT_BYTES_MAX;
      expect(Buffer.byteLength(script), name).toBeLessThan(bytesMax);
    }
  });

  test('everything that can carry labels carries the site', () => {
    const bare = registered.filter(({ inputs }) => ['tags', 'labels'].some((kind) => kind in inputs));
    const wrong = bare.filter(({ inputs }) => {
      const labels = textOf(inputs['labels'] ?? inputs['tags']);
      // Google calls its network tags "tags"; they are a list.
      return !labels.includes('archipelago') && !Array.isArray(inputs['tags']);
    });
    expect(bare.length).toBeGreaterThan(40);
    expect(wrong.map(({ type, name }) => `${type} ${name}`)).toEqual([]);
  });

  test('every resource is registered with the provider of its own site', () => {
    const wrong = registered.filter(
      ({ type, name, provider }) =>
        !type.startsWith('pulumi:providers:') && !provider.includes(`::${name.split('-')[0]}-provider`),
    );
    expect(wrong.map(({ type, name }) => `${type} ${name}`)).toEqual([]);
  });
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

/** Doors that a resource opens to the world, as `protocol port`. */
function doorsOf({ type, inputs }: Registered): string[] {
  if (!/0\.0\.0\.0\/0|::\/0/.test(textOf(inputs))) return [];
  if (type.endsWith(':SecurityGroupIngressRule')) {
    return inputs['fromPort'] === inputs['toPort']
      ? [`${String(inputs['ipProtocol'])} ${String(inputs['fromPort'])}`]
      : ['a range'];
  }
  if (type === 'gcp:compute/firewall:Firewall') {
    const allows = inputs['allows'] as { protocol: string; ports?: string[] }[];
    return allows.flatMap(({ protocol, ports = ['all'] }) => ports.map((port) => `${protocol} ${port}`));
  }
  if (type === 'hcloud:index/firewall:Firewall') {
    const rules = inputs['rules'] as { protocol: string; port: string }[];
    return rules.map(({ protocol, port }) => `${protocol} ${port}`);
  }
  return [];
}

function isGcpInstance({ type }: Registered): boolean {
  return type === 'gcp:compute/instance:Instance';
}

/** The boot scripts of all machines, in clear. */
function scripts(): { readonly name: string; readonly script: string }[] {
  return registered.flatMap(({ name, inputs }) => {
    const given = unwrapped(inputs['userData'] ?? inputs['metadataStartupScript']);
    if (typeof given !== 'string') return [];
    return [{ name, script: given.startsWith('#!') ? given : Buffer.from(given, 'base64').toString() }];
  });
}

function scriptsOf(name: string): string[] {
  return scripts()
    .filter((machine) => machine.name === name)
    .map(({ script }) => script);
}

function valueOf<Value>(output: Output<Value>): Promise<Value> {
  return new Promise((resolve) => {
    output.apply(resolve as never);
  });
}
