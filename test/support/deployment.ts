/**
 * Sites as operators deploy them, without a cloud: their keys come from `fleet add-site`, and their machines are processes
 * on loopback addresses that start with those keys and nothing else, and wait for a manifest.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findPorts } from '../../fleet/local/free-port.ts';
import { chooseNetwork, layOut, type Ports, portWishes, type SiteLayout } from '../../fleet/local/layout.ts';
import { askPrivate } from '../../fleet/local/private-http.ts';
import type { ExtraRecordSet, HealthPolicy } from '../../fleet/manifest/manifest.ts';
import { type SiteFiles, siteFilePath } from '../../fleet/operator/site-keys.ts';
import { witnessFolder } from '../../fleet/operator/witness-keys.ts';
import { systemRandom } from '../../system/random.ts';
import type { DnsServerAddress } from './dns-client.ts';
import { eventually } from './eventually.ts';
import { createNodeProcesses } from './node-processes.ts';
import { createOperators, type Operators } from './operators.ts';

export interface Deployment extends AsyncDisposable {
  readonly operators: Operators;
  readonly zone: string;
  readonly ports: Ports;
  /** Where a resolver that is no part of the fleet may listen. */
  readonly resolver: DnsServerAddress;
  layout(site: string): SiteLayout;
  /** `fleet add-site`, with the ports of this deployment. */
  addSite(site: string): Promise<void>;
  /** `fleet compose` with what Pulumi would say of these sites. */
  compose(sites: readonly string[]): Promise<void>;
  /** The path of a secret file of a site. */
  secretFile(site: string, role: keyof SiteFiles, file: string): string;
  /** Starts the nameserver and vantage of a site; `environment` overrides settings. */
  startVantage(site: string, environment?: Readonly<Record<string, string>>): void;
  /** Starts a witness by its own settings, with the addresses and places of this machine. */
  startWitness(name: string, address: string): void;
  /** Starts the relay of a site with the embedded store; its certificate comes from the vantage. */
  startRelay(site: string): void;
  /** Changes `fleet.json` as a person does. */
  edit(change: (draft: EditableDraft) => void): void;
  /** Starts a program with an environment of its own; it is killed with the rest. */
  start(name: string, program: string, environment: Readonly<Record<string, string>>): void;
  /** SIGKILL; resolves once it is gone. */
  kill(name: string): Promise<void>;
  /** 0: there is none of that name. */
  pid(name: string): number;
  /** Everything that it has written so far. */
  output(name: string): string;
  /** Status code and body of a private port: of the vantage, or of the relay. */
  ask(
    site: string,
    part: 'vantage' | 'relay',
    path: string,
  ): Promise<{ status: number; body: string } | undefined>;
  /** Until the relays and vantages of these sites say that they are ready. */
  untilReady(sites: readonly string[]): Promise<void>;
  until(what: string, holds: () => Promise<boolean>): Promise<void>;
}

/** The part of `fleet.json` that people change by hand. */
interface EditableDraft {
  readonly manifest: {
    health: HealthPolicy;
    records?: readonly ExtraRecordSet[];
    readonly sites: readonly { readonly vantage: object }[];
  };
}

export interface DeploymentOptions {
  /** All that there will ever be, in the order of their addresses. */
  readonly sites: readonly string[];
  readonly policy: HealthPolicy;
}

/** Quicker to change its mind than the default, and as patient with a machine that is busy. */
export const PATIENT_POLICY: HealthPolicy = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 950,
  downAfter: 4,
  okAfter: 2,
  upAfter: 3,
  voteFreshMs: 6000,
  withdrawalWindowMs: 1000,
  warmUpMs: 1000,
  canaryIntervalMs: 0,
  ttlMinSeconds: 1,
  ttlMaxSeconds: 5,
};

const ZONE = 'relay.test';
const WITHIN_MS = 60_000;

/** Lays addresses out and founds the fleet; no site has keys yet. */
export async function createDeployment({ sites, policy }: DeploymentOptions): Promise<Deployment> {
  const network = chooseNetwork(systemRandom);
  const layouts = layOut(network, sites);
  const found = await findPorts(portWishes(layouts, undefined));
  if (!found.ok) throw new Error(found.fault);
  const ports = found.value;
  const operators = createOperators();
  await operators.found(ZONE, ports.relay);
  const nodes = createNodeProcesses();
  const layout = (site: string): SiteLayout => {
    const of = layouts.find(({ name }) => name === site);
    if (of === undefined) throw new Error(`no site ${site}`);
    return of;
  };
  const done = async (words: readonly string[]): Promise<void> => {
    const { code, text } = await operators.run(...words);
    if (code !== 0) throw new Error(`${words.join(' ')}: ${code}\n${text}`);
  };
  const secretFile: Deployment['secretFile'] = (site, role, file) =>
    join(operators.path, siteFilePath(site, role, file));
  const { start } = nodes;
  const askNode: Deployment['ask'] = async (site, part, path) => {
    const { vantageAddress, relayAddress } = layout(site);
    const host = part === 'vantage' ? vantageAddress : relayAddress;
    return await askPrivate(host, ports.private, path, 2000).catch(() => undefined);
  };
  const until: Deployment['until'] = async (what, holds) => {
    await eventually(what, async () => ((await holds()) ? true : undefined), WITHIN_MS);
  };
  const edit: Deployment['edit'] = (change) => {
    const path = join(operators.path, 'fleet.json');
    const draft = JSON.parse(readFileSync(path, 'utf8')) as EditableDraft;
    change(draft);
    writeFileSync(path, JSON.stringify(draft));
  };
  return {
    operators,
    zone: ZONE,
    ports,
    resolver: { address: `${network}.1`, port: ports.dns },
    layout,
    addSite: async (site) => {
      await done(['add-site', site]);
      // What a person changes by hand: here nothing may listen below 1024.
      edit((draft) => {
        for (const { vantage } of draft.manifest.sites) {
          Object.assign(vantage, { dnsPort: ports.dns, votePort: ports.votes });
        }
        draft.manifest.health = policy;
      });
    },
    compose: async (names) => {
      const entries = names.map((name) => [
        name,
        {
          relay: { ipv4: [layout(name).relayAddress], ipv6: [] },
          nameserver: { ipv4: layout(name).vantageAddress },
        },
      ]);
      const text = JSON.stringify({ sites: Object.fromEntries(entries) });
      await done(['compose', operators.file('output.json', text)]);
    },
    secretFile,
    start,
    startVantage: (site, environment = {}) => {
      const state = join(operators.path, '..', `${site}-vantage`);
      mkdirSync(state, { recursive: true });
      const { vantageAddress } = layout(site);
      const secret = (file: string): string => secretFile(site, 'nameserver', file);
      start(`${site}-vantage`, 'healthcheck/main.ts', {
        VANTAGE_SITE: site,
        VANTAGE_MANIFEST: join(state, 'manifest.jws'),
        VANTAGE_MANIFEST_KEY: readFileSync(join(operators.path, 'operators.pub'), 'utf8').trim(),
        VANTAGE_DNS_LISTEN: `${vantageAddress}:${ports.dns}`,
        VANTAGE_VOTE_LISTEN: `${vantageAddress}:${ports.votes}`,
        VANTAGE_PRIVATE_LISTEN: `${vantageAddress}:${ports.private}`,
        VANTAGE_VOTE_KEY: secret('vote-key'),
        VANTAGE_ZONE_KEY: secret('zone-key'),
        VANTAGE_TLS_CERTIFICATE: secret('tls-certificate'),
        VANTAGE_TLS_KEY: secret('tls-key'),
        VANTAGE_OPERATOR_TOKEN: secret('operator-token'),
        ...('VANTAGE_ACME_DIRECTORY' in environment
          ? { VANTAGE_ACME_ACCOUNT_KEY: secret('acme-account-key') }
          : {}),
        VANTAGE_STATE_DIR: state,
        VANTAGE_RESPONSES_PER_SECOND: '0',
        VANTAGE_STOP_WITH_STDIN: 'yes',
        ...environment,
      });
    },
    startWitness: (name, address) => {
      const state = join(operators.path, '..', `${name}-vantage`);
      mkdirSync(state, { recursive: true });
      const folder = join(operators.path, witnessFolder(name));
      const lines = readFileSync(join(folder, 'environment'), 'utf8').trim().split('\n');
      const settings = lines.map((line): [string, string] => {
        const [setting = '', value = ''] = line.split(/=(.*)/s);
        const here = value
          .replace('/etc/archipelago/secret', folder)
          .replace('/var/lib/archipelago', state)
          .replace('[::]', address)
          .replace('127.0.0.1:9100', `${address}:${ports.private}`);
        return [setting, here];
      });
      start(`${name}-vantage`, 'healthcheck/main.ts', Object.fromEntries(settings));
    },
    startRelay: (site) => {
      const state = join(operators.path, '..', `${site}-relay`);
      mkdirSync(state, { recursive: true });
      const { relayAddress, vantageAddress } = layout(site);
      const secret = (file: string): string => secretFile(site, 'relay', file);
      start(`${site}-relay`, 'relay/main.ts', {
        RELAY_SITE: site,
        RELAY_MANIFEST: join(state, 'manifest.jws'),
        RELAY_MANIFEST_KEY: readFileSync(join(operators.path, 'operators.pub'), 'utf8').trim(),
        RELAY_MANIFEST_FROM: `${vantageAddress}:${ports.votes}`,
        RELAY_LISTEN: `${relayAddress}:${ports.relay}`,
        RELAY_PRIVATE_LISTEN: `${relayAddress}:${ports.private}`,
        RELAY_STATE_DIR: state,
        RELAY_PEER_CERTIFICATE: secret('peer-certificate'),
        RELAY_PEER_KEY: secret('peer-key'),
        RELAY_OPERATOR_TOKENS: secret('operator-tokens'),
        RELAY_ENVIRONMENT: 'local',
        RELAY_STORE: 'memory',
        RELAY_DRAIN_MS: '0',
        RELAY_STOP_WITH_STDIN: 'yes',
      });
    },
    kill: async (name) => {
      await nodes.end(name, 'SIGKILL');
    },
    pid: nodes.pid,
    edit,
    output: nodes.output,
    ask: askNode,
    untilReady: async (names) => {
      await until(`${names.join()} are ready`, async () => {
        const replies = await Promise.all(
          names.flatMap((site) => [askNode(site, 'relay', '/readyz'), askNode(site, 'vantage', '/readyz')]),
        );
        return replies.every((reply) => reply?.status === 200);
      });
    },
    until,
    [Symbol.asyncDispose]: async () => {
      await nodes[Symbol.asyncDispose]();
      operators[Symbol.dispose]();
    },
  };
}
