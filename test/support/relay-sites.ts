/**
 * Three sites of relays only, each relay a real process with a store of its own: what tests of the relay need of a
 * fleet, without nameservers.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPorts } from '../../fleet/local/free-port.ts';
import { type Identities, makeIdentities } from '../../fleet/local/identities.ts';
import { chooseNetwork, layOut, type Ports, portWishes, type SiteLayout } from '../../fleet/local/layout.ts';
import { relayEnvironment } from '../../fleet/local/relay-environment.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

export interface RelaySites {
  readonly identities: Identities;
  readonly ports: Ports;
  readonly layouts: readonly SiteLayout[];
  readonly directory: string;
  /** Starts the relay of a site; `environment` overrides settings, `main` the program of production. */
  start(site: string, environment?: Readonly<Record<string, string>>, main?: string): void;
  /** SIGKILL; resolves once the process is gone. */
  kill(site: string): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(site: string): Promise<number | null>;
  signal(site: string, signal: NodeJS.Signals): void;
  /** Everything the relay of a site has written so far. */
  output(site: string): string;
  /** Resolves once the private `/readyz` of a site gives this status. */
  untilStatus(site: string, status: number): Promise<void>;
  metrics(site: string): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
}

const SITES = ['aws', 'gcp', 'hetzner'];

export async function createRelaySites(): Promise<RelaySites> {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-test-'));
  const layouts = layOut(chooseNetwork(systemRandom), SITES);
  const found = await findPorts(portWishes(layouts, undefined));
  if (!found.ok) throw new Error(found.fault);
  const ports = found.value;
  const identities = await makeIdentities(directory, layouts, ports, {
    random: systemRandom,
    wallMs: systemClock.wallMs(),
  });
  const processes = new Map<string, ChildProcess>();
  const outputs = new Map<string, string>();
  const layoutOf = (site: string): SiteLayout => {
    const layout = layouts.find(({ name }) => name === site);
    if (layout === undefined) throw new Error(`no site ${site}`);
    return layout;
  };
  const end = async (site: string, signal: NodeJS.Signals): Promise<number | null> => {
    const child = processes.get(site);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  };
  const askPrivate = async (site: string, path: string): Promise<{ status: number; body: string }> => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
    const { relayAddress } = layoutOf(site);
    const request = get({ host: relayAddress, port: ports.private, path, timeout: 1000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    request.on('error', reject).on('timeout', () => request.destroy(new Error('timeout')));
    return promise;
  };

  return {
    identities,
    ports,
    layouts,
    directory,
    start: (site, environment = {}, main = 'relay/main.ts') => {
      const layout = layoutOf(site);
      const child = spawn(process.execPath, [main], {
        cwd: join(import.meta.dirname, '../..'),
        stdio: ['pipe', 'pipe', 'pipe'],
        env: {
          PATH: process.env['PATH'],
          ...relayEnvironment(layout, ports, identities),
          RELAY_STORE: 'memory',
          ...environment,
        },
      });
      const collect = (chunk: Buffer): void => {
        outputs.set(site, (outputs.get(site) ?? '') + chunk.toString('utf8'));
      };
      child.stdout.on('data', collect);
      child.stderr.on('data', collect);
      processes.set(site, child);
    },
    kill: async (site) => {
      await end(site, 'SIGKILL');
    },
    stop: (site) => end(site, 'SIGTERM'),
    signal: (site, signal) => {
      processes.get(site)?.kill(signal);
    },
    output: (site) => outputs.get(site) ?? '',
    untilStatus: async (site, status) => {
      for (;;) {
        const reply = await askPrivate(site, '/readyz').catch(() => undefined);
        if (reply?.status === status) return;
        const child = processes.get(site);
        if (child?.exitCode !== null && child?.exitCode !== undefined) {
          throw new Error(`the relay of ${site} ended: ${outputs.get(site) ?? ''}`);
        }
        await systemClock.sleep(25);
      }
    },
    metrics: async (site) => (await askPrivate(site, '/metrics')).body,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(SITES.map((site) => end(site, 'SIGKILL')));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
