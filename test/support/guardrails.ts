/**
 * What must hold for whatever a stack registers, at every provider: one set of rules over all resources. A fourth
 * provider's resources are unknown to most rules at first, and the rule about labels then says so.
 */
import { BOOT_BYTES_MAX } from '../../infra/boot.ts';
import { REDIS_PORT } from '../../infra/site.ts';
import { isSecret, type Registered, unwrapped } from './mock-engine.ts';

export interface Guardrail {
  readonly rule: string;
  /** One sentence for each resource that breaks the rule. */
  readonly faultsOf: (resources: readonly Registered[]) => readonly string[];
}

const OPEN_TO_THE_WORLD = ['tcp 443', 'tcp 53', 'udp 53'];
const WORLD = /^(0\.0\.0\.0|::)\/0$/;
const HETZNER_BYTES_MAX = 32_768;
/** What keeps services of a machine from the metadata service: systemd's filter, or the kernel's. */
const METADATA_GUARD = /^IPAddressDeny=169\.254\.169\.254 |ip daddr 169\.254\.169\.254 .*reject$/m;
/** Lost with them: addresses that the registrar and clients know, or messages. */
const PROTECTED = [
  'Eip',
  'Address',
  'PrimaryIp',
  'LoadBalancer',
  'Vpc',
  'Subnet',
  'Subnetwork',
  'Volume',
  'Disk',
];
const ROLES = ['roles/secretmanager.secretAccessor', 'roles/storage.objectViewer'];
const ACTIONS = ['secretsmanager:GetSecretValue', 's3:GetObject', 'autoscaling:CompleteLifecycleAction'];
/** Types that their provider gives neither tags nor labels. */
const UNLABELLED = [
  'aws:autoscaling/policy:Policy',
  'aws:ec2/eipAssociation:EipAssociation',
  'aws:ec2/routeTableAssociation:RouteTableAssociation',
  'aws:ec2/volumeAttachment:VolumeAttachment',
  'aws:iam/rolePolicy:RolePolicy',
  'aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock',
  'aws:secretsmanager/secretVersion:SecretVersion',
  'gcp:compute/firewall:Firewall',
  'gcp:compute/network:Network',
  'gcp:compute/regionAutoscaler:RegionAutoscaler',
  'gcp:compute/regionBackendService:RegionBackendService',
  'gcp:compute/regionHealthCheck:RegionHealthCheck',
  'gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager',
  'gcp:compute/subnetwork:Subnetwork',
  'gcp:secretmanager/secretIamMember:SecretIamMember',
  'gcp:secretmanager/secretVersion:SecretVersion',
  'gcp:serviceaccount/account:Account',
  'gcp:storage/bucketIAMMember:BucketIAMMember',
  'gcp:storage/bucketObject:BucketObject',
  'hcloud:index/loadBalancerNetwork:LoadBalancerNetwork',
  'hcloud:index/loadBalancerService:LoadBalancerService',
  'hcloud:index/loadBalancerTarget:LoadBalancerTarget',
  'hcloud:index/networkSubnet:NetworkSubnet',
  'hcloud:index/volumeAttachment:VolumeAttachment',
  'pulumi:providers:aws',
  'pulumi:providers:gcp',
  'pulumi:providers:hcloud',
];

/** The rules. */
export const GUARDRAILS: readonly Guardrail[] = [
  {
    rule: 'the world reaches 443/tcp and 53, and nothing else',
    faultsOf: each(({ resource }) =>
      doorsOf(resource)
        .filter(({ from }) => from.some((source) => WORLD.test(source)))
        .flatMap(({ ports }) => ports.filter((port) => !OPEN_TO_THE_WORLD.includes(port))),
    ),
  },
  {
    rule: 'no address, public or not, is let in to Redis: only the relays of its site are',
    faultsOf: each(({ resource }) =>
      doorsOf(resource)
        .filter(({ from }) => from.length > 0)
        .flatMap(({ ports }) => ports.filter((port) => port.endsWith(` ${REDIS_PORT}`))),
    ),
  },
  {
    rule: 'disks are encrypted by the provider, or by the machine',
    faultsOf: each(({ type, inputs, resources }) => {
      if (type === 'aws:ebs/volume:Volume') return inputs['encrypted'] === true ? [] : ['not encrypted'];
      if (type === 'aws:ec2/launchTemplate:LaunchTemplate') {
        const disks = (inputs['blockDeviceMappings'] ?? [{}]) as { ebs?: { encrypted?: string } }[];
        return disks.every(({ ebs }) => ebs?.encrypted === 'true') ? [] : ['a disk that is not encrypted'];
      }
      if (type !== 'hcloud:index/volume:Volume') return [];
      const keyed = resources.some(({ inputs: of }) => /^DISK_KEY='\/.+'$/m.test(scriptOf(of) ?? ''));
      return keyed ? [] : ['no machine has a key for it'];
    }),
  },
  {
    rule: 'the metadata service is guarded',
    faultsOf: each(({ type, inputs }) => {
      const script = scriptOf(inputs);
      const isReached = script !== undefined && !METADATA_GUARD.test(script);
      if (isReached) return ['services of the machine reach it'];
      if (type === 'aws:ec2/launchTemplate:LaunchTemplate') {
        const { httpTokens, httpPutResponseHopLimit } = fieldsOf(inputs['metadataOptions']);
        return httpTokens === 'required' && httpPutResponseHopLimit === 1 ? [] : ['answers without a token'];
      }
      if (!/^gcp:compute\/(instance|regionInstanceTemplate):/.test(type)) return [];
      const metadata = fieldsOf(inputs['metadata']);
      return metadata['disable-legacy-endpoints'] === 'true' ? [] : ['legacy endpoints answer'];
    }),
  },
  {
    rule: 'nobody can log in to a machine',
    faultsOf: each(({ type, inputs }) => {
      const keys = ['keyName', 'sshKeys'].filter((field) => field in inputs);
      if (!/^gcp:compute\/(instance|regionInstanceTemplate):/.test(type)) return keys;
      const metadata = fieldsOf(inputs['metadata']);
      const isShut =
        metadata['block-project-ssh-keys'] === 'true' && metadata['serial-port-enable'] === 'false';
      return isShut && !('ssh-keys' in metadata) ? [] : ['keys of the project or the serial console open it'];
    }),
  },
  {
    rule: 'what replaces machines never watches /readyz',
    faultsOf: each(({ type, inputs, resources }) => {
      if (type === 'aws:autoscaling/group:Group') {
        return inputs['healthCheckType'] === 'EC2' ? [] : ['asks the load balancer, which asks /readyz'];
      }
      if (type !== 'gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager') return [];
      const watched = String(fieldsOf(inputs['autoHealingPolicies'])['healthCheck']);
      const check = resources.find(
        ({ type: of, name }) => of.endsWith(':RegionHealthCheck') && watched.startsWith(`${name}-`),
      );
      return text(check?.inputs).includes('"/livez"') ? [] : ['its health check is not /livez'];
    }),
  },
  {
    rule: 'what the addresses and the messages cannot survive is protected',
    faultsOf: each(({ type, resource }) =>
      PROTECTED.includes(type.split(':').at(-1) ?? '') && !resource.isProtected ? ['not protected'] : [],
    ),
  },
  {
    rule: 'everything that can carry labels says project and site',
    faultsOf: each(({ type, name, inputs }) => {
      if (UNLABELLED.includes(type)) return [];
      const given = text(inputs['labels'] ?? inputs['tags'] ?? {});
      const isLabelled = given.includes('archipelago') && given.includes(`"${name.split('-')[0]}"`);
      return isLabelled ? [] : ['no labels'];
    }),
  },
  {
    rule: 'a bucket is closed to the world',
    faultsOf: each(({ type, name, inputs, resources }) => {
      if (type === 'gcp:storage/bucket:Bucket') {
        const isShut = inputs['publicAccessPrevention'] === 'enforced' && inputs['uniformBucketLevelAccess'];
        return isShut === true ? [] : ['may be opened'];
      }
      if (type !== 'aws:s3/bucket:Bucket') return [];
      const block = resources.find(({ type: of, name: to }) => of.endsWith('AccessBlock') && to === name);
      const words = ['blockPublicAcls', 'blockPublicPolicy', 'ignorePublicAcls', 'restrictPublicBuckets'];
      return words.every((word) => block?.inputs[word] === true) ? [] : ['may be opened'];
    }),
  },
  {
    rule: 'a role may do the few things that its machine does, with what is its own',
    faultsOf: each(({ type, inputs }) => {
      if (type === 'aws:iam/rolePolicy:RolePolicy') return policyFaults(String(unwrapped(inputs['policy'])));
      const isBinding = /Iam(Member|Binding|Policy)$|IAM(Member|Binding|Policy)$/.test(type);
      return isBinding && !ROLES.includes(String(inputs['role'])) ? [`role ${String(inputs['role'])}`] : [];
    }),
  },
  {
    rule: 'a boot script fits into what its provider takes, and carries no secret in clear',
    faultsOf: each(({ type, inputs }) => {
      const script = scriptOf(inputs);
      if (script === undefined) return [];
      const bytesMax = type.startsWith('hcloud:') ? HETZNER_BYTES_MAX : BOOT_BYTES_MAX;
      const size = Buffer.byteLength(script);
      const isOpen = /^SECRETS_FROM='inline'$/m.test(script) && !isSecret(inputs['userData']);
      return [...(size > bytesMax ? [`${size} bytes`] : []), ...(isOpen ? ['secrets in clear'] : [])];
    }),
  },
  {
    rule: 'secret files go only where the engine was told that they are secret',
    faultsOf: each(({ inputs }) =>
      Object.entries(inputs)
        .filter(([, value]) => !isSecret(value) && holdsSecret(value))
        .map(([field]) => field),
    ),
  },
  {
    rule: 'a resource is made by the provider of its own site',
    faultsOf: each(({ type, name, resource }) =>
      type.startsWith('pulumi:providers:') || resource.provider.includes(`::${name.split('-')[0]}-provider`)
        ? []
        : [`made by ${resource.provider}`],
    ),
  },
];

interface Looked {
  readonly type: string;
  readonly name: string;
  readonly inputs: Record<string, unknown>;
  readonly resource: Registered;
  readonly resources: readonly Registered[];
}

/** A rule about one resource at a time. */
function each(look: (looked: Looked) => readonly string[]): Guardrail['faultsOf'] {
  return (resources) =>
    resources.flatMap((resource) => {
      const { type, name, inputs } = resource;
      return look({ type, name, inputs, resource, resources }).map((fault) => `${type} ${name}: ${fault}`);
    });
}

interface Door {
  /** Ranges of addresses; none where the source is a group of machines. */
  readonly from: readonly string[];
  /** `protocol port`, or `any` for whatever is not one port. */
  readonly ports: readonly string[];
}

/** The ways in that a resource opens. */
function doorsOf({ type, inputs }: Registered): readonly Door[] {
  if (type.endsWith(':SecurityGroupIngressRule')) {
    const from = [inputs['cidrIpv4'], inputs['cidrIpv6']].filter((range) => typeof range === 'string');
    const isOne = inputs['fromPort'] !== undefined && inputs['fromPort'] === inputs['toPort'];
    return [
      { from, ports: [isOne ? `${String(inputs['ipProtocol'])} ${String(inputs['fromPort'])}` : 'any'] },
    ];
  }
  if (type === 'aws:ec2/securityGroup:SecurityGroup' && 'ingress' in inputs) {
    return [{ from: ['0.0.0.0/0'], ports: ['any'] }];
  }
  if (type === 'gcp:compute/firewall:Firewall') {
    const allows = (inputs['allows'] ?? []) as { protocol: string; ports?: string[] }[];
    // Without a source of any kind it is the world.
    const from = (inputs['sourceRanges'] ??
      (Array.isArray(inputs['sourceTags']) ? [] : ['0.0.0.0/0'])) as string[];
    return allows.map(({ protocol, ports = ['any'] }) => ({
      from,
      ports: ports.map((port) => `${protocol} ${port}`),
    }));
  }
  if (type === 'hcloud:index/firewall:Firewall') {
    const rules = (inputs['rules'] ?? []) as { protocol: string; port?: string; sourceIps: string[] }[];
    return rules.map(({ protocol, port = 'any', sourceIps }) => ({
      from: sourceIps,
      ports: [`${protocol} ${port}`],
    }));
  }
  return [];
}

function policyFaults(policy: string): readonly string[] {
  const { Statement } = JSON.parse(policy) as { Statement: { Action: string; Resource: string }[] };
  return Statement.flatMap(({ Action, Resource }) => [
    ...(ACTIONS.includes(Action) ? [] : [`may ${Action}`]),
    ...(Resource.replace(/\/\*$/, '').length < 10 ? [`with ${Resource}`] : []),
  ]);
}

/** The boot script in a machine's inputs, in clear. */
export function scriptOf(inputs: Readonly<Record<string, unknown>>): string | undefined {
  const given = unwrapped(inputs['userData'] ?? inputs['metadataStartupScript']);
  if (typeof given !== 'string' || given === '') return undefined;
  return given.startsWith('#!') ? given : Buffer.from(given, 'base64').toString();
}

/** Whether a secret file of the tests is in it, as text or in a bundle, also within base64. */
function holdsSecret(value: unknown): boolean {
  const mark = 'THE-CONTENT-OF-';
  const marks = [mark, Buffer.from(mark).toString('base64').slice(0, 18)];
  const written = text(value);
  const inside = scriptOf({ userData: value }) ?? '';
  return marks.some((sign) => written.includes(sign) || inside.includes(sign));
}

function text(value: unknown): string {
  return JSON.stringify(value) ?? '';
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
