/**
 * A fleet whose nodes were started before anybody signed a manifest: real vantages and relays of up to four sites on
 * loopback addresses, each with a place of its own for what it keeps, and the operators' keys in the hands of the test.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { JWK } from 'jose';
import type { Identities } from '../../fleet/local/identities.ts';
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
import { eventually } from './eventually.ts';
import { createNodeProcesses } from './node-processes.ts';
import { type PreparedSites, prepareSites } from './prepared-sites.ts';

type NodeKind = 'vantage' | 'relay';

export interface WaitingFleet
  extends AsyncDisposable,
    Pick<PreparedSites, 'identities' | 'layouts' | 'ports' | 'directory'> {
  /** Version 1 with all sites, not handed to anybody. */
  readonly manifest: Manifest;
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

/** Prepares everything and starts nobody. */
export async function createWaitingFleet(
  names: readonly string[],
  operators: JWK & { readonly x: string },
): Promise<WaitingFleet> {
  const prepared = await prepareSites(names);
  const { directory, layouts, ports, identities, layoutOf } = prepared;
  const { manifest } = identities;
  const nodes = createNodeProcesses();
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
  const nameOf = (kind: NodeKind, site: string): string => `${kind} ${site}`;
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
    start: (kind, site, environment = {}) => {
      const main = kind === 'relay' ? 'relay/main.ts' : 'healthcheck/main.ts';
      nodes.start(nameOf(kind, site), main, { ...environmentOf(kind, site), ...environment });
    },
    kill: async (kind, site) => {
      await nodes.end(nameOf(kind, site), 'SIGKILL');
    },
    ended: async (kind, site) => nodes.ended(nameOf(kind, site)),
    output: (kind, site) => nodes.output(nameOf(kind, site)),
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
      await nodes[Symbol.asyncDispose]();
      prepared[Symbol.dispose]();
    },
  };
}
