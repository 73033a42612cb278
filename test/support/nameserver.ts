/**
 * A nameserver of ours in this process, on its real sockets, for tests with other people's tools.
 */
import type { KeyObject } from 'node:crypto';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { answerWithAll } from '../../healthcheck/core/failover.ts';
import type { ChallengeRecords } from '../../healthcheck/core/zone.ts';
import { createEvents } from '../../healthcheck/events.ts';
import { type NameserverConfig, startNameserver } from '../../healthcheck/nameserver.ts';
import { systemClock } from '../../system/clock.ts';
import { createLog } from '../../system/log.ts';
import { createMetrics } from '../../system/metrics.ts';
import { systemRandom } from '../../system/random.ts';

export interface TestNameserver extends AsyncDisposable {
  /** Gives out these sites from now on; all of them at first. */
  answer(sites: readonly string[], generation: number): void;
  /** Serves these ACME challenges from now on. */
  prove(records: readonly ChallengeRecords[]): void;
}

export interface TestNameserverOptions extends Partial<NameserverConfig> {
  readonly manifest: Manifest;
  readonly site: string;
  readonly address: string;
  readonly port: number;
  readonly zoneKey: KeyObject | undefined;
}

/** Serves the manifest's zone at this address, without a budget of responses unless one is given. */
export async function startTestNameserver(options: TestNameserverOptions): Promise<TestNameserver> {
  const { manifest, address, port } = options;
  const resources = new AsyncDisposableStack();
  const clock = systemClock;
  const log = createLog({ clock, base: {}, level: 'error', write: () => undefined });
  const events = createEvents(log, createMetrics('test_'), clock);
  const nameserver = await startNameserver(
    {
      dnsThreads: 0,
      responsesPerSecond: 0,
      cookieSecrets: undefined,
      transferKeys: [],
      secondaries: [],
      ...options,
    },
    { host: address, port },
    { clock, random: systemRandom, events, resources },
  );
  const publish = (sites: readonly string[], generation: number): void => {
    const all = answerWithAll(manifest, generation);
    const targets = all.targets.filter((target) => sites.some((one) => target.startsWith(`${one}/`)));
    nameserver.publish({ manifest, answer: { ...all, targets }, ttlSeconds: 5 });
  };
  publish(
    manifest.sites.map(({ name }) => name),
    1,
  );
  return {
    answer: publish,
    prove: (records) => nameserver.setChallenges(records),
    [Symbol.asyncDispose]: async () => resources.disposeAsync(),
  };
}
