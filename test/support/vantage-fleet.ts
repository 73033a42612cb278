/**
 * A fleet of vantages for tests: real processes of `healthcheck/main.ts` on loopback addresses, judging small HTTPS
 * servers that stand in for relays.
 *
 * Each site has two lanes in the test process, TCP forwarders through which the other vantages reach its vantage and
 * through which its vantage reaches the others, so that a vantage can be cut off without privileges.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK } from 'jose';
import {
  issueServerCertificate,
  makeAuthority,
  makePinnedIdentity,
  makeVoteKey,
} from '../../fleet/certificates.ts';
import {
  type HealthPolicy,
  type Manifest,
  NO_OVERRIDES,
  WEIGHT_DEFAULT,
} from '../../fleet/manifest/manifest.ts';
import { signManifest } from '../../fleet/manifest/signed.ts';
import { makeZoneKeys } from '../../fleet/zone-keys.ts';
import { type PinnedIdentity, pinOf } from '../../system/pinned-tls.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from './eventually.ts';

export const ZONE = 'relay.example.com';
const SITES = ['aws', 'gcp', 'hetzner'] as const;
type TestSite = (typeof SITES)[number];

export const FAST_POLICY: HealthPolicy = {
  probeIntervalMs: 200,
  probeTimeoutMs: 150,
  downAfter: 3,
  okAfter: 2,
  upAfter: 3,
  voteFreshMs: 1000,
  withdrawalWindowMs: 2000,
  warmUpMs: 1000,
  canaryIntervalMs: 0,
  ttlMinSeconds: 1,
  ttlMaxSeconds: 5,
};

interface LogLine {
  readonly mono: number;
  readonly event: string;
  readonly [field: string]: unknown;
}

interface VantageStatus {
  readonly generation: number;
  readonly answer: {
    readonly sites: readonly string[];
    readonly ttlSeconds: number;
    readonly failOpen: boolean;
  };
  readonly isolated: boolean;
  readonly manifestVersion: number;
  readonly sites: readonly {
    readonly name: string;
    readonly health: string;
    readonly votes: readonly { readonly vantage: string; readonly verdict: string; readonly ageMs: number }[];
  }[];
}

export interface RunningVantage {
  readonly site: TestSite;
  readonly address: string;
  readonly dnsPort: number;
  readonly privateAddress: string;
  readonly privatePort: number;
  readonly lines: readonly LogLine[];
  readonly stateDir: string;
  status(): Promise<VantageStatus>;
  /** The exit code, null when a signal ended it. */
  readonly exited: Promise<number | null>;
  kill(signal: NodeJS.Signals): Promise<number | null>;
  /** Sends SIGHUP. */
  hangUp(): void;
}

export interface VantageFleet extends AsyncDisposable {
  readonly relayAddress: Readonly<Record<TestSite, string>>;
  /** `main` is the program to run instead of the one in production, from the root of the repository. */
  startVantage(site: TestSite, main?: string): Promise<RunningVantage>;
  stopRelay(site: TestSite): Promise<void>;
  startRelay(site: TestSite): Promise<void>;
  /** From now on the relay answers so much later, and says that it is crowded. */
  strainRelay(site: TestSite, lateMs: number): void;
  /** Signs a manifest with these changes, puts it where the vantage looks, and tells it by SIGHUP. */
  handManifest(vantage: RunningVantage, over: Partial<Manifest>): Promise<void>;
  /** Cuts every connection between this site's vantage and the other vantages. */
  cut(site: TestSite): void;
  heal(site: TestSite): void;
}

interface Keys {
  readonly identity: PinnedIdentity & { readonly publicKeySpki: Uint8Array };
  readonly vote: { readonly keyPem: string; readonly publicKey: string };
}

/** Prepares keys, relays and lanes. `network` is the second number of all its addresses, unlike any other test's. */
export async function createVantageFleet(network: number, policy: HealthPolicy): Promise<VantageFleet> {
  const resources = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'vantages-'));
  resources.defer(async () => rm(directory, { recursive: true, force: true }));

  const context = { wallMs: Date.now(), random: systemRandom };
  const authority = await makeAuthority(context);
  const certificate = await issueServerCertificate(context, authority, [ZONE]);
  const operators = generateKeyPairSync('ed25519');
  const signingKey = await exportJWK(operators.privateKey);
  const makeKeys = async (site: TestSite): Promise<Keys> => ({
    identity: await makePinnedIdentity(context, site),
    vote: makeVoteKey(),
  });
  const keys = { aws: await makeKeys('aws'), gcp: await makeKeys('gcp'), hetzner: await makeKeys('hetzner') };

  const zone = makeZoneKeys(ZONE, SITES, context.wallMs);
  const relayAddress = record((_, index) => `127.${network}.0.${index + 1}`);
  const vantageAddress = record((_, index) => `127.${network}.1.${index + 1}`);
  const laneAddress = record((_, index) => `127.${network}.2.${index + 1}`);
  const outerLaneAddress = (from: TestSite, to: TestSite): string =>
    `127.${network}.${10 + SITES.indexOf(from)}.${1 + SITES.indexOf(to)}`;

  const relays = new Map<TestSite, HttpsServer>();
  const lateMs = new Map<TestSite, number>();
  let relayPort = 0;
  const startRelay = async (site: TestSite): Promise<void> => {
    const relay = createHttpsServer(
      { cert: certificate.certificatePem, key: certificate.keyPem },
      (_, response) => {
        const strained = lateMs.get(site);
        if (strained !== undefined) response.setHeader('Relay-Load', 'crowded');
        setTimeout(() => response.writeHead(200).end('.'.repeat(4096)), strained ?? 0);
      },
    );
    relayPort = await listen(relay, relayAddress[site], relayPort);
    relays.set(site, relay);
  };
  const stopRelay = async (site: TestSite): Promise<void> => {
    const relay = relays.get(site);
    if (relay === undefined) return;
    relays.delete(site);
    relay.closeAllConnections();
    await new Promise((resolve) => relay.close(resolve));
  };
  for (const site of SITES) await startRelay(site);
  resources.defer(async () => {
    for (const site of SITES) await stopRelay(site);
  });

  // The same two ports at every vantage address; found free at the first one.
  const votePort = await freePort(vantageAddress.aws);
  const dnsPort = await freePort(vantageAddress.aws);
  const lanes = new Map<TestSite, Lane[]>(SITES.map((site) => [site, []]));
  for (const from of SITES) {
    for (const to of SITES) {
      if (from === to) continue;
      const lane = await createLane(outerLaneAddress(from, to), vantageAddress[to], votePort);
      resources.use(lane);
      lanes.get(from)?.push(lane);
      lanes.get(to)?.push(lane);
    }
  }

  /** What `viewer` is told: the others' vantages are at the far ends of its lanes. */
  const manifestFor = (viewer: TestSite): Manifest => ({
    format: 1,
    version: 1,
    zone: ZONE,
    port: relayPort,
    health: policy,
    witnesses: [],
    steering: 'spread',
    externalCanaries: [],
    overrides: NO_OVERRIDES,
    zoneKeys: zone.zoneKeys,
    sites: SITES.map((site) => ({
      name: site,
      provider: site,
      weight: WEIGHT_DEFAULT,
      relay: {
        ipv4: [relayAddress[site]],
        ipv6: [],
        pins: [pinOf(new TextEncoder().encode(`relay of ${site}`))],
      },
      vantage: {
        ipv4: site === viewer ? vantageAddress[site] : outerLaneAddress(viewer, site),
        ipv6: null,
        dnsPort,
        votePort,
        pins: [pinOf(keys[site].identity.publicKeySpki)],
        voteKey: keys[site].vote.publicKey,
      },
    })),
  });

  const startVantage = async (site: TestSite, main = 'healthcheck/main.ts'): Promise<RunningVantage> => {
    const write = async (name: string, content: string): Promise<string> => {
      const path = join(directory, `${site}.${name}`);
      await writeFile(path, content);
      return path;
    };
    // The same directory in every life of a vantage.
    const stateDir = join(directory, `${site}-state`);
    await mkdir(stateDir, { recursive: true });
    const { identity, vote }: Keys = keys[site];
    const privatePort = await freePort(laneAddress[site]);
    const environment = {
      VANTAGE_SITE: site,
      VANTAGE_MANIFEST: await write('manifest', await signManifest(manifestFor(site), signingKey)),
      VANTAGE_MANIFEST_KEY: operators.publicKey.export({ format: 'jwk' }).x ?? '',
      VANTAGE_DNS_LISTEN: `${vantageAddress[site]}:${dnsPort}`,
      VANTAGE_DNS_THREADS: '1',
      VANTAGE_VOTE_LISTEN: `${vantageAddress[site]}:${votePort}`,
      VANTAGE_PRIVATE_LISTEN: `${laneAddress[site]}:${privatePort}`,
      VANTAGE_VOTE_KEY: await write('vote.pem', vote.keyPem),
      VANTAGE_ZONE_KEY: await write('zone.pem', zone.keyPem.get(site) ?? ''),
      VANTAGE_TLS_CERTIFICATE: await write('cert.pem', identity.certificatePem),
      VANTAGE_TLS_KEY: await write('key.pem', identity.keyPem),
      VANTAGE_CA: await write('ca.pem', authority.certificatePem),
      VANTAGE_STATE_DIR: stateDir,
      VANTAGE_STOP_WITH_STDIN: 'yes',
    };
    const child = spawn(process.execPath, [join(import.meta.dirname, '../..', main)], {
      env: environment,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    const kill = async (signal: NodeJS.Signals): Promise<number | null> => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return exited;
    };
    resources.defer(async () => {
      await kill('SIGKILL');
    });
    const lines = readLines(child);
    return {
      site,
      address: vantageAddress[site],
      dnsPort,
      privateAddress: laneAddress[site],
      privatePort,
      lines,
      stateDir,
      exited,
      kill,
      hangUp: () => void child.kill('SIGHUP'),
      status: async () => {
        const response = await fetch(`http://${laneAddress[site]}:${privatePort}/status`);
        return (await response.json()) as VantageStatus;
      },
    };
  };

  return {
    relayAddress,
    startVantage,
    startRelay,
    stopRelay,
    strainRelay: (site, byMs) => void lateMs.set(site, byMs),
    handManifest: async (vantage, over) => {
      const signed = await signManifest({ ...manifestFor(vantage.site), ...over }, signingKey);
      await writeFile(join(directory, `${vantage.site}.manifest`), signed);
      vantage.hangUp();
    },
    cut: (site) => lanes.get(site)?.forEach((lane) => lane.cut()),
    heal: (site) => lanes.get(site)?.forEach((lane) => lane.heal()),
    [Symbol.asyncDispose]: async () => resources.disposeAsync(),
  };
}

/** Starts all three, and gives them once each knows that every site is up. */
export async function startWellVantages(fleet: VantageFleet): Promise<readonly RunningVantage[]> {
  const vantages = await Promise.all([
    fleet.startVantage('aws'),
    fleet.startVantage('gcp'),
    fleet.startVantage('hetzner'),
  ]);
  for (const vantage of vantages) {
    const isWell = async (): Promise<true | undefined> => {
      const status = await vantage.status().catch(() => undefined);
      const sites = status?.sites ?? [];
      return sites.length === vantages.length && sites.every((site) => site.health === 'up')
        ? true
        : undefined;
    };
    await eventually(`${vantage.site} knows that all is well`, isWell, 60_000);
  }
  return vantages;
}

interface Lane extends AsyncDisposable {
  cut(): void;
  heal(): void;
}

/** A TCP forwarder that can be cut: then it ends what it carries and takes nothing new. */
async function createLane(address: string, toAddress: string, port: number): Promise<Lane> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((inner) => {
    if (isCut) {
      inner.destroy();
      return;
    }
    const outer = connect(port, toAddress);
    for (const [socket, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await listen(server, address, port);
  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    cut: () => {
      isCut = true;
      destroyAll();
    },
    heal: () => {
      isCut = false;
    },
    [Symbol.asyncDispose]: async () => {
      destroyAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function readLines(child: ChildProcess): readonly LogLine[] {
  const lines: LogLine[] = [];
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part) as LogLine);
  });
  return lines;
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  const port = await listen(server, host, 0);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function record<Value>(make: (site: TestSite, index: number) => Value): Readonly<Record<TestSite, Value>> {
  return { aws: make('aws', 0), gcp: make('gcp', 1), hetzner: make('hetzner', 2) };
}
