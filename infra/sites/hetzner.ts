/**
 * A site at Hetzner Cloud. Sections, as at every provider: network, firewall, addresses, load balancer, Redis, relay
 * group, nameserver, outputs.
 *
 * There is no secret store and no identity of a machine here, so the secret files are in the boot script, which is
 * marked secret; services of the machine cannot reach the metadata service that gives it out.
 */

import {
  Firewall,
  LoadBalancer,
  LoadBalancerNetwork,
  LoadBalancerService,
  LoadBalancerTarget,
  Network,
  NetworkSubnet,
  PlacementGroup,
  PrimaryIp,
  Provider,
  Server,
  type ServerArgs,
  Volume,
  VolumeAttachment,
} from '@pulumi/hcloud';
import {
  all,
  type CustomResourceOptions,
  interpolate,
  type Output,
  type Resource,
  secret,
} from '@pulumi/pulumi';
import { renderBoot } from '../boot.ts';
import { createGate, type Gate } from '../rollout.ts';
import {
  labelsOf,
  REDIS_ADDRESS,
  type Role,
  SITE_NETWORK,
  SITE_SUBNETS,
  type Site,
  type SiteOptions,
  type SiteSpec,
} from '../site.ts';

const IMAGE = 'debian-13';
const SIZES: Readonly<Record<Role, string>> = { relay: 'cx23', redis: 'cx23', nameserver: 'cx23' };
const TLS = 443;
const WORLD = ['0.0.0.0/0', '::/0'];

/** What the sections of one site share. */
interface Context {
  readonly spec: SiteSpec;
  readonly options: SiteOptions;
  readonly labels: Record<string, string>;
  readonly opts: CustomResourceOptions;
}

/** Declares the resources of one site at Hetzner Cloud. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const labels = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`);
  const context: Context = { spec, options, labels, opts: { provider } };

  const subnet = createNetwork(context);
  const firewall = createFirewall(context);
  const addresses = createAddresses(context);
  const balancer = createBalancer(context, subnet);
  const redis = createRedis(context, subnet, firewall);
  createRelays(context, subnet, firewall, addresses, balancer, redis);
  const nameserver = createNameserver(context, firewall, addresses);

  return {
    relay: {
      ipv4: balancer.balancer.ipv4.apply((address) => [address]),
      ipv6: balancer.balancer.ipv6.apply((address) => [address]),
    },
    nameserver: { ipv4: addresses.nameserver4.ipAddress, ipv6: nameserver.ipv6Address },
  };
}

// Network: private, between the load balancer, the relays and Redis; firewalls do not filter it.

function createNetwork({ spec, labels, opts }: Context): NetworkSubnet {
  const network = new Network(spec.name, { ipRange: SITE_NETWORK, labels }, opts);
  return new NetworkSubnet(
    spec.name,
    {
      networkId: network.id.apply(Number),
      type: 'cloud',
      networkZone: spec.zones[0] ?? '',
      ipRange: SITE_SUBNETS[0],
    },
    opts,
  );
}

// Firewall: the world reaches the load balancer, which has none, the nameserver, and relays by the port that they
// serve the world on, so that a rollout can look at them. A firewall without rules is shut.

interface Rule {
  readonly direction: string;
  readonly protocol: string;
  readonly port: string;
  readonly sourceIps: string[];
}

interface Firewalls {
  readonly closed: Firewall;
  readonly relay: Firewall;
  readonly nameserver: Firewall;
}

function open(protocol: 'tcp' | 'udp', port: string): Rule {
  return { direction: 'in', protocol, port, sourceIps: WORLD };
}

function createFirewall({ spec, labels, opts }: Context): Firewalls {
  return {
    closed: new Firewall(`${spec.name}-closed`, { rules: [], labels }, opts),
    relay: new Firewall(`${spec.name}-relay`, { rules: [open('tcp', String(TLS))], labels }, opts),
    nameserver: new Firewall(
      `${spec.name}-nameserver`,
      { rules: [open('udp', '53'), open('tcp', '53'), open('tcp', String(TLS))], labels },
      opts,
    ),
  };
}

// Addresses: known to the registrar and to every client. Those of the relays are the load balancer's own.

interface Addresses {
  readonly nameserver4: PrimaryIp;
  readonly nameserver6: PrimaryIp;
}

function createAddresses({ spec, options, labels, opts }: Context): Addresses {
  const address = (name: string, type: 'ipv4' | 'ipv6'): PrimaryIp =>
    new PrimaryIp(
      `${spec.name}-${name}`,
      {
        type,
        location: spec.location,
        assigneeType: 'server',
        autoDelete: false,
        deleteProtection: options.isProtected,
        labels,
      },
      { ...opts, protect: options.isProtected },
    );
  return { nameserver4: address('nameserver', 'ipv4'), nameserver6: address('nameserver-ipv6', 'ipv6') };
}

// Load balancer: passes TCP through, TLS ends in the relay; it sends clients to relays that are ready for them.

interface Balancer {
  readonly balancer: LoadBalancer;
  /** What must be there before a relay can be a target by its private address. */
  readonly isInside: LoadBalancerNetwork;
}

function createBalancer({ spec, options, labels, opts }: Context, subnet: NetworkSubnet): Balancer {
  const balancer = new LoadBalancer(
    spec.name,
    {
      loadBalancerType: 'lb11',
      location: spec.location,
      algorithm: { type: 'least_connections' },
      deleteProtection: options.isProtected,
      labels,
    },
    // Its addresses go when it goes.
    { ...opts, protect: options.isProtected },
  );
  const isInside = new LoadBalancerNetwork(
    spec.name,
    { loadBalancerId: balancer.id.apply(Number), subnetId: subnet.id },
    opts,
  );
  new LoadBalancerService(
    spec.name,
    {
      loadBalancerId: balancer.id,
      protocol: 'tcp',
      listenPort: TLS,
      destinationPort: TLS,
      proxyprotocol: false,
      healthCheck: {
        protocol: 'http',
        port: TLS,
        interval: 5,
        timeout: 2,
        retries: 2,
        http: { path: '/readyz', tls: true, statusCodes: ['200'] },
      },
    },
    opts,
  );
  return { balancer, isInside };
}

// Redis: one machine without a door to the world, its append-only file on a disk of its own.

function createRedis(context: Context, subnet: NetworkSubnet, { closed }: Firewalls): Server {
  const { spec, options, labels, opts } = context;
  const name = `${spec.name}-redis`;
  // Hetzner does not encrypt volumes: the boot script does, with the operators' key.
  const disk = new Volume(
    name,
    { size: spec.redisGb, location: spec.location, deleteProtection: options.isProtected, labels },
    { ...opts, protect: options.isProtected },
  );
  const device = interpolate`/dev/disk/by-id/scsi-0HC_Volume_${disk.id}`;
  const server = createServer(context, {
    name,
    role: 'redis',
    disk: device,
    place: {
      firewallIds: [closed.id.apply(Number)],
      // Out to the release and to Debian; the firewall lets nobody in by it.
      publicNets: [{ ipv4Enabled: true, ipv6Enabled: true }],
      networks: [{ subnetId: subnet.id, ip: REDIS_ADDRESS, aliasIps: [] }],
    },
    deleteBeforeReplace: true,
  });
  new VolumeAttachment(name, { serverId: server.id.apply(Number), volumeId: disk.id.apply(Number) }, opts);
  return server;
}

// Relay group: a fixed number of machines, each replaced after the one before it was seen to be good.

function createRelays(
  context: Context,
  subnet: NetworkSubnet,
  { relay }: Firewalls,
  { nameserver4 }: Addresses,
  { balancer, isInside }: Balancer,
  redis: Server,
): void {
  const { spec, options, labels, opts } = context;
  const spread = new PlacementGroup(`${spec.name}-relay`, { type: 'spread', labels }, opts);
  const gate = createGate(spec.name, options.rolloutTimeoutS);
  let before: Resource = redis;
  for (let index = 0; index < spec.relays; index += 1) {
    const name = `${spec.name}-relay-${index}`;
    const server = createServer(context, {
      name,
      role: 'relay',
      place: {
        firewallIds: [relay.id.apply(Number)],
        publicNets: [{ ipv4Enabled: true, ipv6Enabled: true }],
        networks: [{ subnetId: subnet.id, aliasIps: [] }],
        // Ten to a group at most, so only the first ten are promised to be on different hosts.
        ...(index < 10 ? { placementGroupId: spread.id.apply(Number) } : {}),
        shutdownBeforeDeletion: true,
      },
      manifestFrom: nameserver4.ipAddress,
      dependsOn: [before],
      ...(gate === undefined ? {} : { gate }),
    });
    const id = gate?.passed(server.id, server.ipv4Address) ?? server.id;
    before = new LoadBalancerTarget(
      name,
      {
        type: 'server',
        loadBalancerId: balancer.id.apply(Number),
        serverId: id.apply(Number),
        usePrivateIp: true,
      },
      { ...opts, dependsOn: [isInside] },
    );
  }
}

// Nameserver: one machine with the addresses of the delegation.

function createNameserver(context: Context, { nameserver }: Firewalls, addresses: Addresses): Server {
  return createServer(context, {
    name: `${context.spec.name}-nameserver`,
    role: 'nameserver',
    place: {
      firewallIds: [nameserver.id.apply(Number)],
      publicNets: [
        {
          ipv4Enabled: true,
          ipv4: addresses.nameserver4.id.apply(Number),
          ipv6Enabled: true,
          ipv6: addresses.nameserver6.id.apply(Number),
        },
      ],
    },
    deleteBeforeReplace: true,
  });
}

interface Machine {
  readonly name: string;
  readonly role: Role;
  readonly place: Partial<ServerArgs>;
  readonly disk?: Output<string>;
  /** Address of the nameserver that a relay asks first. */
  readonly manifestFrom?: Output<string>;
  readonly gate?: Gate;
  /** Where the old one must go first, because both cannot have its addresses. */
  readonly deleteBeforeReplace?: true;
  readonly dependsOn?: Resource[];
}

function createServer({ spec, options, labels, opts }: Context, machine: Machine): Server {
  const { name, role, place } = machine;
  const known = all([machine.disk ?? '', machine.manifestFrom ?? '']);
  const script = known.apply(([disk, manifestFrom]) =>
    renderBoot({ role, spec, options, secretsFrom: { kind: 'inline' }, disk, manifestFrom }),
  );
  return new Server(
    name,
    {
      ...place,
      serverType: spec.sizes[role] ?? SIZES[role],
      image: IMAGE,
      location: spec.location,
      userData: secret(script),
      labels: { ...labels, role },
    },
    {
      ...opts,
      // In place it would switch off every machine at once.
      replaceOnChanges: ['serverType'],
      deleteBeforeReplace: machine.deleteBeforeReplace ?? false,
      dependsOn: machine.dependsOn ?? [],
      ...(machine.gate === undefined ? {} : { hooks: { afterCreate: [machine.gate.afterCreate] } }),
    },
  );
}
