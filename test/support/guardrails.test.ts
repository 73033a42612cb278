/** That each rule about what a stack registers catches what it is there for. */
import { expect, test } from 'vitest';
import { GUARDRAILS } from './guardrails.ts';
import type { Registered } from './mock-engine.ts';

const SECRET = Buffer.from('THE-CONTENT-OF-tls-key').toString('base64');
const SHUT = {
  'block-project-ssh-keys': 'true',
  'serial-port-enable': 'false',
  'disable-legacy-endpoints': 'true',
};
const policy = (statement: object): string => JSON.stringify({ Statement: [statement] });

const CAUGHT: readonly [string, string, Record<string, unknown>][] = [
  [
    'the world',
    'aws:vpc/x:SecurityGroupIngressRule',
    { cidrIpv6: '::/0', ipProtocol: 'tcp', fromPort: 22, toPort: 22 },
  ],
  [
    'the world',
    'aws:vpc/x:SecurityGroupIngressRule',
    { cidrIpv4: '0.0.0.0/0', ipProtocol: 'tcp', fromPort: 53, toPort: 443 },
  ],
  ['the world', 'aws:vpc/x:SecurityGroupIngressRule', { cidrIpv4: '0.0.0.0/0', ipProtocol: '-1' }],
  ['the world', 'aws:ec2/securityGroup:SecurityGroup', { ingress: [{}] }],
  ['the world', 'gcp:compute/firewall:Firewall', { allows: [{ protocol: 'tcp', ports: ['9100'] }] }],
  ['the world', 'gcp:compute/firewall:Firewall', { allows: [{ protocol: 'all' }], sourceRanges: ['::/0'] }],
  [
    'the world',
    'hcloud:index/firewall:Firewall',
    { rules: [{ protocol: 'udp', port: '443', sourceIps: ['::/0'] }] },
  ],
  [
    'no address',
    'gcp:compute/firewall:Firewall',
    { allows: [{ protocol: 'tcp', ports: ['6379'] }], sourceRanges: ['10.80.0.0/16'] },
  ],
  [
    'no address',
    'hcloud:index/firewall:Firewall',
    { rules: [{ protocol: 'tcp', port: '6379', sourceIps: ['192.0.2.1/32'] }] },
  ],
  ['disks', 'aws:ebs/volume:Volume', {}],
  ['disks', 'aws:ec2/launchTemplate:LaunchTemplate', { blockDeviceMappings: [{ ebs: {} }] }],
  ['disks', 'aws:ec2/launchTemplate:LaunchTemplate', {}],
  ['disks', 'hcloud:index/volume:Volume', {}],
  ['the metadata', 'aws:ec2/launchTemplate:LaunchTemplate', { metadataOptions: { httpTokens: 'optional' } }],
  ['the metadata', 'gcp:compute/instance:Instance', { metadata: {} }],
  ['the metadata', 'hcloud:index/server:Server', { userData: '#!/bin/sh\n' }],
  ['nobody can log in', 'aws:ec2/launchTemplate:LaunchTemplate', { keyName: 'me' }],
  ['nobody can log in', 'gcp:compute/instance:Instance', { metadata: { ...SHUT, 'ssh-keys': 'me' } }],
  ['nobody can log in', 'gcp:compute/instance:Instance', { metadata: {} }],
  ['nobody can log in', 'hcloud:index/server:Server', { sshKeys: ['me'] }],
  ['what replaces', 'aws:autoscaling/group:Group', { healthCheckType: 'ELB' }],
  [
    'what replaces',
    'gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager',
    { autoHealingPolicies: { healthCheck: 'gcp-ready-1' } },
  ],
  ['what the addresses', 'aws:ec2/eip:Eip', {}],
  ['what the addresses', 'gcp:compute/disk:Disk', {}],
  ['what the addresses', 'hcloud:index/primaryIp:PrimaryIp', {}],
  ['everything that can carry', 'hcloud:index/server:Server', { labels: { project: 'archipelago' } }],
  ['everything that can carry', 'scaleway:index/server:Server', {}],
  ['a bucket', 'aws:s3/bucket:Bucket', {}],
  [
    'a bucket',
    'gcp:storage/bucket:Bucket',
    { publicAccessPrevention: 'inherited', uniformBucketLevelAccess: true },
  ],
  [
    'a role',
    'aws:iam/rolePolicy:RolePolicy',
    { policy: policy({ Action: '*', Resource: 'arn:aws:s3:::bucket' }) },
  ],
  ['a role', 'aws:iam/rolePolicy:RolePolicy', { policy: policy({ Action: 's3:GetObject', Resource: '*' }) }],
  ['a role', 'gcp:projects/iAMMember:IAMMember', { role: 'roles/editor' }],
  [
    'a boot script',
    'aws:ec2/launchTemplate:LaunchTemplate',
    { userData: Buffer.from(`#!/bin/sh${' '.repeat(16_384)}`).toString('base64') },
  ],
  ['a boot script', 'hcloud:index/server:Server', { userData: "#!/bin/sh\nSECRETS_FROM='inline'\n" }],
  ['secret files', 'aws:secretsmanager/secretVersion:SecretVersion', { secretString: `tls-key:${SECRET}` }],
  [
    'secret files',
    'aws:ec2/launchTemplate:LaunchTemplate',
    { userData: Buffer.from(`#!/bin/sh\nSECRETS='${SECRET}'`).toString('base64') },
  ],
  ['a resource is made', 'aws:ec2/eip:Eip', {}],
];

test.each(CAUGHT)('%s…: a %s with %j', (start, type, inputs) => {
  const found = GUARDRAILS.filter(({ rule }) => rule.startsWith(start));
  expect(found.map(({ rule }) => rule)).toHaveLength(1);
  const resource: Registered = {
    type,
    name: 'other-thing',
    inputs,
    isProtected: false,
    deletesBeforeReplace: false,
    provider: 'urn:pulumi:test::archipelago::pulumi:providers:aws::aws-provider::1',
  };
  expect(found[0]?.faultsOf([resource])).not.toEqual([]);
});

test('every rule is in the table', () => {
  const shown = GUARDRAILS.filter(({ rule }) => CAUGHT.some(([start]) => rule.startsWith(start)));
  expect(shown).toEqual(GUARDRAILS);
});
