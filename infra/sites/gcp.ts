/**
 * A site at Google Cloud. Sections, as at every provider: network, firewall, addresses, load balancer, Redis, relay
 * group, nameserver, outputs.
 */

import { Provider } from '@pulumi/gcp';
import {
  Address,
  Disk,
  Firewall,
  ForwardingRule,
  type Instance,
  Network,
  RegionAutoscaler,
  RegionBackendService,
  RegionHealthCheck,
  RegionInstanceGroupManager,
  Subnetwork,
} from '@pulumi/gcp/compute/index.js';
import { PRIVATE_PORT } from '../boot.ts';
import {
  labelsOf,
  REDIS_ADDRESS,
  REDIS_PORT,
  type Role,
  SITE_SUBNETS,
  type Site,
  type SiteOptions,
  type SiteSpec,
} from '../site.ts';
import { type Context, createMachine, createTemplate, type SiteContext } from './gcp-machine.ts';
import { createRelease } from './gcp-release.ts';

const TLS = '443';
const DNS = '53';
const WORLD = { ipv4: ['0.0.0.0/0'], ipv6: ['::/0'] } as const;
/** Where Google's health checkers come from; they ask on behalf of nobody else. */
const CHECKERS = ['35.191.0.0/16', '130.211.0.0/22', '209.85.152.0/22', '209.85.204.0/22'];
const DISK_NAME = 'redis-data';

/** Declares the resources of one site at Google Cloud. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const labels = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`, {
    region: spec.location,
    ...(spec.project === undefined ? {} : { project: spec.project }),
    defaultLabels: labels,
  });
  const site: SiteContext = { spec, options, labels, opts: { provider } };
  const context: Context = { ...site, release: createRelease(site) };

  const subnet = createNetwork(context);
  createFirewall(context, subnet);
  const addresses = createAddresses(context, subnet);
  const redis = createRedis(context, subnet);
  const group = createRelays(context, subnet, addresses, redis);
  createBalancer(context, subnet, addresses, group);
  createNameserver(context, subnet, addresses);

  return {
    relay: {
      ipv4: addresses.relay4.address.apply((address) => [address]),
      ipv6: addresses.relay6.address.apply((address) => [address]),
    },
    nameserver: { ipv4: addresses.nameserver4.address, ipv6: addresses.nameserver6.address },
  };
}

// Network: one subnet with external IPv6; what has no firewall rule is closed.

function createNetwork({ spec, options, opts }: Context): Subnetwork {
  const network = new Network(spec.name, { autoCreateSubnetworks: false, routingMode: 'REGIONAL' }, opts);
  return new Subnetwork(
    spec.name,
    {
      network: network.id,
      region: spec.location,
      ipCidrRange: SITE_SUBNETS[0],
      stackType: 'IPV4_IPV6',
      ipv6AccessType: 'EXTERNAL',
      privateIpGoogleAccess: true,
    },
    // The static IPv6 addresses come out of its range.
    { ...opts, protect: options.isProtected },
  );
}

// Firewall: the world reaches the load balancer and the nameserver, relays reach Redis, and that is all.

function createFirewall({ spec, opts }: Context, { network }: Subnetwork): void {
  const target = (role: Role): string => `${spec.name}-${role}`;
  const open = (role: Role, protocol: 'tcp' | 'udp', ports: string[]): void => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      new Firewall(
        `${target(role)}-${protocol}-${family}`,
        {
          network,
          direction: 'INGRESS',
          allows: [{ protocol, ports }],
          sourceRanges: [...WORLD[family]],
          targetTags: [target(role)],
        },
        opts,
      );
    }
  };
  // The load balancer passes packets through with the clients' addresses, so relays are open to the world.
  open('relay', 'tcp', [TLS]);
  open('nameserver', 'udp', [DNS]);
  open('nameserver', 'tcp', [DNS, TLS]);
  new Firewall(
    `${spec.name}-relay-checks`,
    {
      network,
      direction: 'INGRESS',
      allows: [{ protocol: 'tcp', ports: [String(PRIVATE_PORT)] }],
      sourceRanges: CHECKERS,
      targetTags: [target('relay')],
    },
    opts,
  );
  new Firewall(
    `${spec.name}-redis-from-relay`,
    {
      network,
      direction: 'INGRESS',
      allows: [{ protocol: 'tcp', ports: [String(REDIS_PORT)] }],
      sourceTags: [target('relay')],
      targetTags: [target('redis')],
    },
    opts,
  );
}

// Addresses: known to the registrar and to every client, so they outlive whatever uses them.

interface Addresses {
  readonly relay4: Address;
  readonly relay6: Address;
  readonly nameserver4: Address;
  readonly nameserver6: Address;
}

function createAddresses({ spec, options, labels, opts }: Context, subnet: Subnetwork): Addresses {
  const guarded = { ...opts, protect: options.isProtected };
  const shared = { region: spec.location, addressType: 'EXTERNAL', networkTier: 'PREMIUM', labels };
  const ipv4 = (role: Role): Address => new Address(`${spec.name}-${role}`, shared, guarded);
  const ipv6 = (role: Role, ipv6EndpointType: 'NETLB' | 'VM'): Address =>
    new Address(
      `${spec.name}-${role}-ipv6`,
      { ...shared, ipVersion: 'IPV6', ipv6EndpointType, subnetwork: subnet.id },
      guarded,
    );
  return {
    relay4: ipv4('relay'),
    relay6: ipv6('relay', 'NETLB'),
    nameserver4: ipv4('nameserver'),
    nameserver6: ipv6('nameserver', 'VM'),
  };
}

// Load balancer: passes TCP through, TLS ends in the relay; it sends clients to relays that are ready for them.

function createBalancer(
  { spec, labels, opts }: Context,
  subnet: Subnetwork,
  addresses: Addresses,
  group: RegionInstanceGroupManager,
): void {
  const name = spec.name;
  const ready = new RegionHealthCheck(
    `${name}-ready`,
    {
      region: spec.location,
      checkIntervalSec: 5,
      timeoutSec: 2,
      healthyThreshold: 2,
      unhealthyThreshold: 2,
      httpsHealthCheck: { port: Number(TLS), requestPath: '/readyz' },
    },
    opts,
  );
  const backend = new RegionBackendService(
    name,
    {
      region: spec.location,
      loadBalancingScheme: 'EXTERNAL',
      protocol: 'TCP',
      healthChecks: ready.id,
      backends: [{ group: group.instanceGroup, balancingMode: 'CONNECTION' }],
      connectionDrainingTimeoutSec: 60,
    },
    opts,
  );
  const shared = {
    region: spec.location,
    loadBalancingScheme: 'EXTERNAL',
    ipProtocol: 'TCP',
    ports: [TLS],
    networkTier: 'PREMIUM',
    backendService: backend.id,
    labels,
  };
  new ForwardingRule(`${name}-ipv4`, { ...shared, ipAddress: addresses.relay4.id }, opts);
  const ipv6 = { ...shared, ipAddress: addresses.relay6.id, ipVersion: 'IPV6', subnetwork: subnet.id };
  new ForwardingRule(`${name}-ipv6`, ipv6, opts);
}

// Redis: one machine without a door to the world, its append-only file on a disk of its own.

function createRedis(context: Context, subnet: Subnetwork): Instance {
  const { spec, options, labels, opts } = context;
  const name = `${spec.name}-redis`;
  // Google encrypts every disk; there is nothing to switch on.
  const disk = new Disk(
    name,
    { zone: spec.zones[0] ?? '', type: 'pd-ssd', size: spec.redisGb, labels },
    { ...opts, protect: options.isProtected },
  );
  return createMachine(
    context,
    'redis',
    {
      networkInterfaces: [
        {
          subnetwork: subnet.id,
          stackType: 'IPV4_ONLY',
          networkIp: REDIS_ADDRESS,
          // Out to the release and to Debian; no firewall rule lets anybody in by it.
          accessConfigs: [{ networkTier: 'PREMIUM' }],
        },
      ],
      attachedDisks: [{ source: disk.id, deviceName: DISK_NAME, mode: 'READ_WRITE' }],
    },
    `/dev/disk/by-id/google-${DISK_NAME}`,
  );
}

// Relay group: more when they are busy, new ones before old ones go, and none replaced because it is not ready.

function createRelays(
  context: Context,
  subnet: Subnetwork,
  addresses: Addresses,
  redis: Instance,
): RegionInstanceGroupManager {
  const { spec, opts } = context;
  const name = `${spec.name}-relay`;
  const template = createTemplate(context, subnet, addresses.nameserver4.address);
  const alive = new RegionHealthCheck(
    `${name}-alive`,
    {
      region: spec.location,
      checkIntervalSec: 10,
      timeoutSec: 5,
      healthyThreshold: 2,
      unhealthyThreshold: 6,
      httpHealthCheck: { port: PRIVATE_PORT, requestPath: '/livez' },
    },
    opts,
  );
  const group = new RegionInstanceGroupManager(
    name,
    {
      region: spec.location,
      baseInstanceName: name,
      versions: [{ instanceTemplate: template.selfLink }],
      distributionPolicyZones: [...spec.zones],
      // Never /readyz: a partition would replace every healthy relay.
      autoHealingPolicies: { healthCheck: alive.id, initialDelaySec: 600 },
      updatePolicy: {
        type: 'PROACTIVE',
        minimalAction: 'REPLACE',
        replacementMethod: 'SUBSTITUTE',
        maxSurgeFixed: spec.zones.length,
        maxUnavailableFixed: 0,
      },
      waitForInstances: true,
      waitForInstancesStatus: 'UPDATED',
    },
    { ...opts, dependsOn: [redis] },
  );
  new RegionAutoscaler(
    name,
    {
      region: spec.location,
      target: group.id,
      autoscalingPolicy: {
        minReplicas: spec.relays,
        maxReplicas: spec.relaysMax,
        cooldownPeriod: 120,
        cpuUtilization: { target: 0.5 },
      },
    },
    opts,
  );
  return group;
}

// Nameserver: one machine with the addresses of the delegation.

function createNameserver(context: Context, subnet: Subnetwork, addresses: Addresses): void {
  createMachine(context, 'nameserver', {
    networkInterfaces: [
      {
        subnetwork: subnet.id,
        stackType: 'IPV4_IPV6',
        accessConfigs: [{ natIp: addresses.nameserver4.address, networkTier: 'PREMIUM' }],
        ipv6AccessConfigs: [
          {
            name: 'external-ipv6',
            networkTier: 'PREMIUM',
            externalIpv6: addresses.nameserver6.address,
            externalIpv6PrefixLength: '96',
          },
        ],
      },
    ],
  });
}
