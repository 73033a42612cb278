/**
 * Three sites of relays only, each relay a real process with a store of its own: what tests of the relay need of a
 * fleet, without nameservers.
 */
import { askPrivate } from '../../fleet/local/private-http.ts';
import { relayEnvironment } from '../../fleet/local/relay-environment.ts';
import { systemClock } from '../../system/clock.ts';
import { createNodeProcesses } from './node-processes.ts';
import { type PreparedSites, prepareSites } from './prepared-sites.ts';

export interface RelaySites extends Pick<PreparedSites, 'identities' | 'ports' | 'layouts' | 'directory'> {
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
  /** What a resolver says of a site's own name, and of the name that all sites have. */
  readonly lookup: (hostname: string) => Promise<readonly string[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

const SITES = ['aws', 'gcp', 'hetzner'];

export async function createRelaySites(): Promise<RelaySites> {
  const prepared = await prepareSites(SITES);
  const { identities, ports, layouts, directory, layoutOf } = prepared;
  const relays = createNodeProcesses();
  const ask = async (site: string, path: string): ReturnType<typeof askPrivate> =>
    askPrivate(layoutOf(site).relayAddress, ports.private, path, 1000);
  return {
    identities,
    ports,
    layouts,
    directory,
    start: (site, environment = {}, main = 'relay/main.ts') =>
      relays.start(site, main, {
        ...relayEnvironment(layoutOf(site), ports, identities),
        RELAY_STORE: 'memory',
        ...environment,
      }),
    kill: async (site) => {
      await relays.end(site, 'SIGKILL');
    },
    stop: (site) => relays.end(site, 'SIGTERM'),
    signal: relays.signal,
    output: relays.output,
    untilStatus: async (site, status) => {
      for (;;) {
        const reply = await ask(site, '/readyz').catch(() => undefined);
        if (reply?.status === status) return;
        if (relays.exitCode(site) !== null) {
          throw new Error(`the relay of ${site} ended: ${relays.output(site)}`);
        }
        await systemClock.sleep(25);
      }
    },
    metrics: async (site) => (await ask(site, '/metrics')).body,
    lookup: async (hostname) =>
      layouts
        .filter(({ name }) => hostname === 'relay.test' || hostname === `${name}.relay.test`)
        .map(({ relayAddress }) => relayAddress),
    [Symbol.asyncDispose]: async () => {
      await relays[Symbol.asyncDispose]();
      prepared[Symbol.dispose]();
    },
  };
}
