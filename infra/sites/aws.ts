/**
 * A site at AWS. Sections, as at every provider: network, firewall, addresses, load balancer, Redis, relay group,
 * nameserver, outputs.
 */

import { Provider } from '@pulumi/aws';
import { Group, Policy } from '@pulumi/aws/autoscaling/index.js';
import { Volume } from '@pulumi/aws/ebs/index.js';
import {
  Eip,
  EipAssociation,
  Instance,
  InternetGateway,
  NetworkInterface,
  RouteTable,
  RouteTableAssociation,
  SecurityGroup,
  Subnet,
  VolumeAttachment,
  Vpc,
} from '@pulumi/aws/ec2/index.js';
import { Listener, LoadBalancer, TargetGroup } from '@pulumi/aws/lb/index.js';
import type { input } from '@pulumi/aws/types/index.js';
import { SecurityGroupEgressRule, SecurityGroupIngressRule } from '@pulumi/aws/vpc/index.js';
import { all, interpolate, type Output, output, type Resource } from '@pulumi/pulumi';
import {
  labelsOf,
  REDIS_ADDRESS,
  REDIS_PORT,
  type Role,
  SITE_NETWORK,
  SITE_SUBNETS,
  type Site,
  type SiteOptions,
  type SiteSpec,
} from '../site.ts';
import { type Context, createTemplate, type SiteContext } from './aws-machine.ts';
import { createRelease } from './aws-release.ts';

const TLS = 443;
const DNS = 53;

/** Declares the resources of one site at AWS. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const tags = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`, { region: spec.location, defaultTags: { tags } });
  const site: SiteContext = { spec, options, tags, opts: { provider } };
  const context: Context = { ...site, release: createRelease(site) };

  const network = createNetwork(context);
  const firewall = createFirewall(context, network);
  const addresses = createAddresses(context, network);
  const balancer = createBalancer(context, network, firewall, addresses);
  const redis = createRedis(context, network, firewall);
  createRelays(context, network, firewall, addresses, balancer, redis);
  const nameserver = createNameserver(context, network, firewall, addresses);

  return {
    relay: {
      ipv4: all(addresses.relay.map(({ publicIp }) => publicIp)),
      ipv6: all(network.subnets.map((_, index) => addressIn(network, index, 'relay'))),
    },
    nameserver: { ipv4: addresses.nameserver.publicIp, ipv6: nameserver },
  };
}

// Network: public subnets in two zones and no NAT gateway; the firewall decides who reaches what.

interface Network {
  readonly vpc: Vpc;
  readonly subnets: readonly Subnet[];
}

function createNetwork({ spec, options, tags, opts }: Context): Network {
  const { name } = spec;
  const named = { ...tags, Name: `archipelago-${name}` };
  // The relays' and the nameserver's IPv6 addresses come with it, so it is protected like an address.
  const vpc = new Vpc(
    name,
    {
      cidrBlock: SITE_NETWORK,
      assignGeneratedIpv6CidrBlock: true,
      enableDnsSupport: true,
      enableDnsHostnames: true,
      tags: named,
    },
    { ...opts, protect: options.isProtected },
  );
  const gateway = new InternetGateway(name, { vpcId: vpc.id, tags: named }, opts);
  const routes = new RouteTable(
    name,
    {
      vpcId: vpc.id,
      routes: [
        { cidrBlock: '0.0.0.0/0', gatewayId: gateway.id },
        { ipv6CidrBlock: '::/0', gatewayId: gateway.id },
      ],
      tags: named,
    },
    opts,
  );
  const subnets = SITE_SUBNETS.map((cidrBlock, index) => {
    const subnet = new Subnet(
      `${name}-${index}`,
      {
        vpcId: vpc.id,
        availabilityZone: spec.zones[index] ?? '',
        cidrBlock,
        ipv6CidrBlock: vpc.ipv6CidrBlock.apply((range) => subnetOf(range, index)),
        assignIpv6AddressOnCreation: true,
        mapPublicIpOnLaunch: true,
        tags: named,
      },
      { ...opts, protect: options.isProtected },
    );
    new RouteTableAssociation(`${name}-${index}`, { subnetId: subnet.id, routeTableId: routes.id }, opts);
    return subnet;
  });
  return { vpc, subnets };
}

/** The /64 with this number in a /56 that ends with `00::/56`. */
function subnetOf(range: string, index: number): string {
  return range.replace(/00::\/56$/, `0${index}::/64`);
}

/** The same host part at every site, so that a look at an address tells what it is. */
function addressIn({ subnets }: Network, index: number, role: 'relay' | 'nameserver'): Output<string> {
  const range = subnets[index]?.ipv6CidrBlock ?? output('');
  const host = role === 'relay' ? '443' : '53';
  return range.apply((cidr) => cidr.replace(/::\/64$/, `::${host}`));
}

// Firewall: the world reaches the load balancer and the nameserver, relays reach Redis, and that is all.

interface Firewall {
  readonly balancer: SecurityGroup;
  readonly relay: SecurityGroup;
  readonly redis: SecurityGroup;
  readonly nameserver: SecurityGroup;
}

function createFirewall({ spec, tags, opts }: Context, { vpc }: Network): Firewall {
  const group = (role: string): SecurityGroup => {
    const name = `${spec.name}-${role}`;
    const description = `Archipelago: ${role}`;
    const made = new SecurityGroup(name, { vpcId: vpc.id, description, tags: { ...tags, Name: name } }, opts);
    for (const [family, world] of [
      ['ipv4', { cidrIpv4: '0.0.0.0/0' }],
      ['ipv6', { cidrIpv6: '::/0' }],
    ] as const) {
      const rule = { securityGroupId: made.id, ipProtocol: '-1', ...world, tags };
      new SecurityGroupEgressRule(`${name}-out-${family}`, rule, opts);
    }
    return made;
  };
  const fromWorld = (role: string, to: SecurityGroup, ipProtocol: 'tcp' | 'udp', port: number): void => {
    for (const [family, world] of [
      ['ipv4', { cidrIpv4: '0.0.0.0/0' }],
      ['ipv6', { cidrIpv6: '::/0' }],
    ] as const) {
      const rule = { securityGroupId: to.id, ipProtocol, fromPort: port, toPort: port, ...world, tags };
      new SecurityGroupIngressRule(`${spec.name}-${role}-${ipProtocol}-${port}-${family}`, rule, opts);
    }
  };
  const between = (role: string, from: SecurityGroup, to: SecurityGroup, port: number): void => {
    const ports = { ipProtocol: 'tcp', fromPort: port, toPort: port };
    const rule = { securityGroupId: to.id, referencedSecurityGroupId: from.id, ...ports, tags };
    new SecurityGroupIngressRule(`${spec.name}-${role}`, rule, opts);
  };
  const [balancer, relay, redis, nameserver] = [
    group('balancer'),
    group('relay'),
    group('redis'),
    group('nameserver'),
  ];
  fromWorld('balancer', balancer, 'tcp', TLS);
  between('relay-from-balancer', balancer, relay, TLS);
  between('redis-from-relay', relay, redis, REDIS_PORT);
  fromWorld('nameserver', nameserver, 'udp', DNS);
  fromWorld('nameserver', nameserver, 'tcp', DNS);
  fromWorld('nameserver', nameserver, 'tcp', TLS);
  return { balancer, relay, redis, nameserver };
}

// Addresses: known to the registrar and to every client, so they outlive whatever uses them.

interface Addresses {
  /** One for each zone, as this load balancer has it. */
  readonly relay: readonly Eip[];
  readonly nameserver: Eip;
}

function createAddresses({ spec, options, tags, opts }: Context, network: Network): Addresses {
  const address = (role: string): Eip =>
    new Eip(
      `${spec.name}-${role}`,
      { domain: 'vpc', tags: { ...tags, Name: `${spec.name}-${role}` } },
      { ...opts, protect: options.isProtected },
    );
  return {
    relay: network.subnets.map((_, index) => address(`relay-${index}`)),
    nameserver: address('nameserver'),
  };
}

// Load balancer: passes TCP through, TLS ends in the relay; it sends clients to relays that are ready for them.

function createBalancer(
  { spec, options, tags, opts }: Context,
  network: Network,
  firewall: Firewall,
  addresses: Addresses,
): TargetGroup {
  const balancer = new LoadBalancer(
    spec.name,
    {
      loadBalancerType: 'network',
      ipAddressType: 'dualstack',
      enableCrossZoneLoadBalancing: true,
      enableDeletionProtection: options.isProtected,
      // There from the first day: a load balancer without one can never get one.
      securityGroups: [firewall.balancer.id],
      subnetMappings: network.subnets.map((subnet, index) => ({
        subnetId: subnet.id,
        allocationId: addresses.relay[index]?.allocationId ?? '',
        ipv6Address: addressIn(network, index, 'relay'),
      })),
      tags,
    },
    { ...opts, protect: options.isProtected },
  );
  const targets = new TargetGroup(
    spec.name,
    {
      port: TLS,
      protocol: 'TCP',
      targetType: 'instance',
      vpcId: network.vpc.id,
      deregistrationDelay: 60,
      healthCheck: {
        protocol: 'HTTPS',
        path: '/readyz',
        port: String(TLS),
        interval: 5,
        timeout: 2,
        healthyThreshold: 2,
        unhealthyThreshold: 2,
        matcher: '200',
      },
      tags,
    },
    opts,
  );
  new Listener(
    spec.name,
    {
      loadBalancerArn: balancer.arn,
      port: TLS,
      protocol: 'TCP',
      tcpIdleTimeoutSeconds: 350,
      defaultActions: [{ type: 'forward', targetGroupArn: targets.arn }],
      tags,
    },
    opts,
  );
  return targets;
}

// Redis: one machine without a door to the world, its append-only file on a disk of its own.

function createRedis(context: Context, network: Network, firewall: Firewall): Instance {
  const { spec, options, tags, opts } = context;
  const name = `${spec.name}-redis`;
  const disk = new Volume(
    name,
    {
      availabilityZone: spec.zones[0] ?? '',
      type: 'gp3',
      size: spec.redisGb,
      encrypted: true,
      tags: { ...tags, Name: name },
    },
    { ...opts, protect: options.isProtected },
  );
  const device = interpolate`/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${disk.id.apply((id) => id.replace('-', ''))}`;
  const machine = createMachine(
    context,
    'redis',
    {
      deviceIndex: 0,
      subnetId: network.subnets[0]?.id ?? '',
      privateIpAddress: REDIS_ADDRESS,
      // Out to Debian and to the secret store; its group lets nobody in by it.
      associatePublicIpAddress: 'true',
      deleteOnTermination: 'true',
      securityGroups: [firewall.redis.id],
    },
    { disk: device },
  );
  new VolumeAttachment(
    name,
    { instanceId: machine.id, volumeId: disk.id, deviceName: '/dev/sdf', stopInstanceBeforeDetaching: true },
    opts,
  );
  return machine;
}

// Relay group: more when they are busy, new ones before old ones go, and none replaced because it is not ready.

function createRelays(
  context: Context,
  network: Network,
  firewall: Firewall,
  addresses: Addresses,
  targets: TargetGroup,
  redis: Instance,
): void {
  const { spec, tags, opts } = context;
  const name = `${spec.name}-relay`;
  const groupName = `archipelago-${name}`;
  const template = createTemplate(context, 'relay', {
    boot: addresses.nameserver.publicIp.apply((manifestFrom) => ({ group: groupName, manifestFrom })),
    networkInterface: {
      deviceIndex: 0,
      associatePublicIpAddress: 'true',
      deleteOnTermination: 'true',
      securityGroups: [firewall.relay.id],
    },
  });
  const group = new Group(
    name,
    {
      name: groupName,
      minSize: spec.relays,
      maxSize: spec.relaysMax,
      vpcZoneIdentifiers: network.subnets.map(({ id }) => id),
      // The version by number: "$Latest" would never start a refresh.
      launchTemplate: { id: template.id, version: template.latestVersion.apply(String) },
      targetGroupArns: [targets.arn],
      // The machine's own state. "ELB" would watch /readyz, and a partition would replace every healthy relay.
      healthCheckType: 'EC2',
      // A new machine counts when it says that its relay answers /livez; one that never does is given up.
      initialLifecycleHooks: [
        {
          name: 'alive',
          lifecycleTransition: 'autoscaling:EC2_INSTANCE_LAUNCHING',
          heartbeatTimeout: 900,
          defaultResult: 'ABANDON',
        },
      ],
      instanceRefresh: {
        strategy: 'Rolling',
        preferences: {
          minHealthyPercentage: 100,
          maxHealthyPercentage: 150,
          instanceWarmup: '60',
          autoRollback: true,
          skipMatching: true,
        },
      },
      waitForCapacityTimeout: '0',
      tags: Object.entries({ ...tags, Name: name }).map(([key, value]) => ({
        key,
        value,
        propagateAtLaunch: true,
      })),
    },
    { ...opts, dependsOn: [redis] },
  );
  new Policy(
    name,
    {
      autoscalingGroupName: group.name,
      policyType: 'TargetTrackingScaling',
      targetTrackingConfiguration: {
        predefinedMetricSpecification: { predefinedMetricType: 'ASGAverageCPUUtilization' },
        targetValue: 50,
      },
    },
    opts,
  );
}

// Nameserver: the addresses are on an interface that stays when the machine is replaced.

function createNameserver(
  context: Context,
  network: Network,
  firewall: Firewall,
  addresses: Addresses,
): Output<string> {
  const { spec, options, tags, opts } = context;
  const name = `${spec.name}-nameserver`;
  const ipv6 = addressIn(network, 0, 'nameserver');
  const plug = new NetworkInterface(
    name,
    {
      subnetId: network.subnets[0]?.id ?? '',
      ipv6Addresses: [ipv6],
      securityGroups: [firewall.nameserver.id],
      tags: { ...tags, Name: name },
    },
    { ...opts, protect: options.isProtected },
  );
  const reachable = new EipAssociation(
    name,
    { allocationId: addresses.nameserver.allocationId, networkInterfaceId: plug.id },
    opts,
  );
  const place = { deviceIndex: 0, networkInterfaceId: plug.id, deleteOnTermination: 'false' };
  createMachine(context, 'nameserver', place, { after: [reachable] });
  return ipv6;
}

/** A single machine; the old one goes first, because both cannot have its addresses. */
function createMachine(
  context: Context,
  role: Role,
  networkInterface: input.ec2.LaunchTemplateNetworkInterface,
  { disk, after = [] }: { readonly disk?: Output<string>; readonly after?: Resource[] },
): Instance {
  const { spec, tags, opts } = context;
  const name = `${spec.name}-${role}`;
  const template = createTemplate(context, role, {
    boot: disk === undefined ? output({}) : disk.apply((path) => ({ disk: path })),
    networkInterface,
  });
  return new Instance(
    name,
    {
      launchTemplate: { id: template.id, version: template.latestVersion.apply(String) },
      tags: { ...tags, Name: name },
    },
    { ...opts, deleteBeforeReplace: true, dependsOn: after },
  );
}
