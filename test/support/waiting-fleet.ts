/**
 * A fleet whose nodes were started before anybody signed a manifest: real vantages and relays of up to four sites on
 * loopback addresses, each with a place of its own for what it keeps, and the operators' keys in the hands of the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { findPorts } from '../../fleet/local/free-port.ts';
import { type Identities, makeIdentities } from '../../fleet/local/identities.ts';
import { chooseNetwork, layOut, type Ports, portWishes, type SiteLayout } from '../../fleet/local/layout.ts';
import { askPrivate } from '../../fleet/local/private-http.ts';
import { relayEnvironment } from '../../fleet/local/relay-environment.ts';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { signManifest } from '../../fleet/manifest/signed.ts';
import {
  type Asked,
  askNameserver,
  type Nameserver,
  nameserversOf,
} from '../../fleet/operator/nameservers.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from './eventually.ts';

type NodeKind = 'vantage' | 'relay';

export interface WaitingFleet extends AsyncDisposable {
  /** Version 1 with all sites, not handed to anybody. */
  readonly manifest: Manifest;
  readonly identities: Identities;
  readonly layouts: readonly SiteLayout[];
  readonly ports: Ports;
  readonly directory: string;
  sign(over: Partial<Manifest>): Promise<string>;
  start(kind: NodeKind, site: string, environment?: Readonly<Record<string, string>>): void;
  /** SIGKILL; resolves once the process is gone. */
  kill(kind: NodeKind, site: string): Promise<void>;
  /** Resolves with the exit code once the process has ended by itself. */
  ended(kind: NodeKind, site: string): Promise<number | null>;
  output(kind: NodeKind, site: string): string;
  /** What `/readyz` says; undefined while nobody answers. */
  reasons(kind: NodeKind, site: string): Promise<readonly string[] | undefined>;
  untilReasons(kind: NodeKind, site: string, reasons: readonly string[]): Promise<void>;
  metric(kind: NodeKind, site: string, name: string): Promise<number | undefined>;
  untilMetric(kind: NodeKind, site: string, name: string, value: number): Promise<void>;
  nameserver(site: string): Nameserver;
  /** Asks a vantage as an operator does. */
  ask(
    site: string,
    asked: Asked,
  ): Promise<{ readonly status: number; readonly body: Record<string, unknown> }>;
}

/** The private key of somebody, as a JWK. */
export function makeSigningKey(): JWK & { readonly x: string } {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return { ...jwk, x: jwk.x ?? '' };
}

const ROOT = join(import.meta.dirname, '../..');

/** Prepares everything and starts nobody. */
export async function createWaitingFleet(
  names: readonly string[],
  operators: JWK & { readonly x: string },
): Promise<WaitingFleet> {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-test-'));
  const layouts = layOut(chooseNetwork(systemRandom), names);
  const found = await findPorts(portWishes(layouts, undefined));
  if (!found.ok) throw new Error(found.fault);
  const ports = found.value;
  const identities = await makeIdentities(directory, layouts, ports, {
    random: systemRandom,
    wallMs: systemClock.wallMs(),
  });
  const { manifest } = identities;
  const processes = new Map<string, ChildProcess>();
  const outputs = new Map<string, string>();
  const layoutOf = (site: string): SiteLayout => {
    const layout = layouts.find(({ name }) => name === site);
    if (layout === undefined) throw new Error(`no site ${site}`);
    return layout;
  };
  const addressOf = (kind: NodeKind, site: string): string =>
    kind === 'relay' ? layoutOf(site).relayAddress : layoutOf(site).vantageAddress;
  const place = (kind: NodeKind, site: string): string => {
    const path = join(directory, `${kind}-${site}`);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const environmentOf = (kind: NodeKind, site: string): Readonly<Record<string, string>> => {
    const layout = layoutOf(site);
    const file = (name: Parameters<Identities['siteFile']>[1]): string => identities.siteFile(site, name);
    if (kind === 'relay') {
      return {
        ...relayEnvironment(layout, ports, identities),
        RELAY_STORE: 'memory',
        RELAY_MANIFEST: join(place(kind, site), 'manifest.jws'),
        RELAY_MANIFEST_KEY: operators.x,
        RELAY_MANIFEST_FROM: `${layout.vantageAddress}:${ports.votes}`,
      };
    }
    return {
      VANTAGE_SITE: site,
      VANTAGE_MANIFEST: join(place(kind, site), 'manifest.jws'),
      VANTAGE_MANIFEST_KEY: operators.x,
      VANTAGE_DNS_LISTEN: `${layout.vantageAddress}:${ports.dns}`,
      VANTAGE_VOTE_LISTEN: `${layout.vantageAddress}:${ports.votes}`,
      VANTAGE_PRIVATE_LISTEN: `${layout.vantageAddress}:${ports.private}`,
      VANTAGE_VOTE_KEY: file('vote.key'),
      VANTAGE_ZONE_KEY: file('zone.key'),
      VANTAGE_TLS_CERTIFICATE: file('vantage.pem'),
      VANTAGE_TLS_KEY: file('vantage.key'),
      VANTAGE_CA: identities.files.authority,
      VANTAGE_STATE_DIR: place(kind, site),
      VANTAGE_RESPONSES_PER_SECOND: '0',
      VANTAGE_STOP_WITH_STDIN: 'yes',
    };
  };
  const start: WaitingFleet['start'] = (kind, site, environment = {}) => {
    const main = kind === 'relay' ? 'relay/main.ts' : 'healthcheck/main.ts';
    const child = spawn(process.execPath, [main], {
      cwd: ROOT,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...environmentOf(kind, site), ...environment },
    });
    const key = `${kind} ${site}`;
    const collect = (chunk: Buffer): void => {
      outputs.set(key, (outputs.get(key) ?? '') + chunk.toString('utf8'));
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    processes.set(key, child);
  };
  const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;
  const kill: WaitingFleet['kill'] = async (kind, site) => {
    const child = processes.get(`${kind} ${site}`);
    if (child === undefined || !isRunning(child)) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  const askNode = async (kind: NodeKind, site: string, path: string): Promise<string | undefined> => {
    const reply = await askPrivate(addressOf(kind, site), ports.private, path, 2000).catch(() => undefined);
    return reply?.body;
  };
  const reasons: WaitingFleet['reasons'] = async (kind, site) => {
    const body = await askNode(kind, site, '/readyz');
    return body === undefined ? undefined : (JSON.parse(body) as { reasons: string[] }).reasons;
  };
  const metric: WaitingFleet['metric'] = async (kind, site, name) => {
    const text = (await askNode(kind, site, '/metrics')) ?? '';
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
  const nameserver = (site: string): Nameserver => {
    const one = nameserversOf(manifest).find(({ name }) => name === site);
    if (one === undefined) throw new Error(`no nameserver ${site}`);
    return one;
  };
  return {
    manifest,
    identities,
    layouts,
    ports,
    directory,
    sign: async (over) => signManifest({ ...manifest, ...over }, operators),
    start,
    kill,
    ended: async (kind, site) => {
      const child = processes.get(`${kind} ${site}`);
      if (child !== undefined && isRunning(child)) await once(child, 'exit');
      return child?.exitCode ?? null;
    },
    output: (kind, site) => outputs.get(`${kind} ${site}`) ?? '',
    reasons,
    untilReasons: async (kind, site, wanted) => {
      await eventually(
        `${kind} of ${site} says ${wanted.join(' ') || 'ready'}`,
        async () => ((await reasons(kind, site))?.join() === wanted.join() ? true : undefined),
        60_000,
      );
    },
    metric,
    untilMetric: async (kind, site, name, value) => {
      await eventually(
        `${name} of the ${kind} of ${site} is ${value}`,
        async () => ((await metric(kind, site, name)) === value ? true : undefined),
        60_000,
      );
    },
    nameserver,
    ask: async (site, asked) => {
      const reply = await askNameserver(nameserver(site), asked);
      if (!reply.ok) throw new Error(reply.fault);
      const { status, body } = reply.value;
      return { status, body: body === '' ? {} : (JSON.parse(body) as Record<string, unknown>) };
    },
    [Symbol.asyncDispose]: async () => {
      for (const key of processes.keys()) {
        const [kind, site = ''] = key.split(' ');
        await kill(kind as NodeKind, site);
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
