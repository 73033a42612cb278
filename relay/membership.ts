/**
 * The relay's place in the fleet: it waits until a manifest has its site and there are secrets, and then goes on with every
 * newer one. What only a new process can take ends this one in good order: docs/configuration.md.
 */
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { systemRandom } from '../system/random.ts';
import type { RelayBoot, RelayConfig } from './config.ts';
import { parseKeyRing } from './core/key-ring.ts';
import { followManifest } from './follow-manifest.ts';
import { createLiveManifest, type LiveManifest, ownEntry, whatNeedsRestart } from './live-manifest.ts';
import { createLiveRing, type LiveRing } from './live-ring.ts';
import { createManifestEvents, type ManifestEvents, type Waiting } from './manifest-events.ts';
import {
  createManifestKeeper,
  type HeldManifest,
  type ManifestKeeper,
  type RefusedManifest,
} from './manifest-keeper.ts';

export interface Membership {
  /** Why it does not serve, while it does not. */
  waiting(): Waiting;
  /**
   * Resolves with what it serves by; with undefined once `stopped`. If it has to wait, it calls `open` first and
   * disposes of what that gave before it resolves. Rejects when `open` does.
   */
  begun(stopped: AbortSignal, open: () => Promise<AsyncDisposable>): Promise<RelayConfig | undefined>;
  /** The ring in force; only once it has begun. */
  ring(): LiveRing;
  /** The secrets that hold now: those that the manifest seals for this site, else those of the file. */
  readonly secretsNow: () => string | undefined;
  /** Called when the sites are others. */
  onChange(listener: () => void): void;
}

export interface MembershipOptions {
  readonly boot: RelayBoot;
  /** Reads the secrets file; undefined when there is none. */
  readonly readSecrets: () => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the process in good order. */
  readonly stop: (reason: string) => void;
  /** Sites that lack copies, as far as this relay knows. */
  readonly lacking: () => readonly SiteName[];
}

/** What is in force once the relay serves. */
interface InForce {
  readonly live: LiveManifest;
  readonly ring: LiveRing;
}

const TELL_WAITING_EVERY_MS = 60_000;

/** Begins to ask for the manifest at once. */
export function joinFleet(options: MembershipOptions, resources: AsyncDisposableStack): Membership {
  const { boot, clock, log } = options;
  const events = createManifestEvents(options.metrics, log);
  let inForce: InForce | undefined;
  let waiting: Waiting = 'no_manifest';
  let changed: () => void = () => undefined;
  let arrived = new AbortController();
  const keeper = createKeeper(boot, events, (next) => {
    if (inForce === undefined) arrived.abort(new Error('a manifest arrived'));
    else {
      const refused = goOn(next, inForce, boot.settings.RELAY_SITE, options.stop);
      if (refused !== undefined) return refused;
      changed();
    }
    events.adopted(next.manifest.version);
    return undefined;
  });
  const secretsNow = (): string | undefined => keeper.held()?.secrets ?? options.readSecrets();
  follow(keeper, events, options, resources);
  return {
    waiting: () => waiting,
    secretsNow,
    ring: () => {
      if (inForce === undefined) throw new Error('there is no ring before the relay has begun');
      return inForce.ring;
    },
    onChange: (listener) => {
      changed = listener;
      // What came between the making of the parts and now.
      listener();
    },
    begun: async (stopped, open) => {
      await using whileWaiting = new AsyncDisposableStack();
      let isOpen = false;
      const loaded = await keeper.load();
      if (loaded?.ok === false) events.refused(loaded.fault);
      while (!stopped.aborted) {
        arrived = new AbortController();
        const begun = beginning(boot, keeper.held()?.manifest, secretsNow());
        if (typeof begun !== 'string') {
          inForce = begun.inForce;
          return begun.config;
        }
        waiting = begun;
        events.waiting(waiting);
        if (!isOpen) whileWaiting.use(await open());
        isOpen = true;
        const woken = AbortSignal.any([stopped, arrived.signal]);
        await clock.sleep(TELL_WAITING_EVERY_MS, woken).catch(() => undefined);
      }
      return undefined;
    },
  };
}

function createKeeper(
  { settings, peerPin }: RelayBoot,
  events: ManifestEvents,
  adopt: (next: HeldManifest) => RefusedManifest | undefined,
): ManifestKeeper {
  return createManifestKeeper({
    site: settings.RELAY_SITE,
    operatorsKey: settings.RELAY_MANIFEST_KEY,
    versionMin: settings.RELAY_MANIFEST_VERSION_MIN,
    path: settings.RELAY_MANIFEST,
    peerPin,
    peerKeyPem: settings.RELAY_PEER_KEY,
    adopt,
    unwritable: () => events.unwritable(),
  });
}

/** Asks vantages, and looks at the disk again at every SIGHUP. */
function follow(
  keeper: ManifestKeeper,
  events: ManifestEvents,
  { boot, clock, log, lacking }: MembershipOptions,
  resources: AsyncDisposableStack,
): void {
  const { settings } = boot;
  const stopping = new AbortController();
  const following = followManifest(
    {
      own: settings.RELAY_SITE,
      from: settings.RELAY_MANIFEST_FROM ?? [],
      identity: { certificatePem: settings.RELAY_PEER_CERTIFICATE, keyPem: settings.RELAY_PEER_KEY },
      held: () => keeper.held()?.manifest,
      lacking,
      take: async (signed) => {
        const taken = await keeper.take(signed);
        // A vantage that has been away is behind; that is no fault of anybody.
        if (!taken.ok && taken.fault.reason !== 'not_newer') events.refused(taken.fault);
      },
      clock,
      random: systemRandom,
      log,
    },
    stopping.signal,
  );
  const loadAgain = async (): Promise<void> => {
    const loaded = await keeper.load();
    if (loaded?.ok === false) events.refused(loaded.fault);
  };
  const reload = (): void => void loadAgain();
  process.on('SIGHUP', reload);
  resources.defer(async () => {
    process.off('SIGHUP', reload);
    stopping.abort(new Error('stopping'));
    await following;
  });
}

/** What the relay begins with, or what it waits for. */
function beginning(
  { settings, certificate, operatorTokenHashes }: RelayBoot,
  manifest: Manifest | undefined,
  secrets: string | undefined,
): { readonly config: RelayConfig; readonly inForce: InForce } | Waiting {
  if (manifest === undefined) return 'no_manifest';
  const own = ownEntry(manifest.sites, settings.RELAY_SITE);
  if (own === undefined) return 'not_in_manifest';
  const ring = secrets === undefined ? undefined : parseKeyRing(secrets);
  if (ring?.ok !== true) return 'no_secrets';
  const inForce = { live: createLiveManifest(manifest), ring: createLiveRing(ring.value) };
  const told = { settings, certificate, operatorTokenHashes };
  return { config: { ...told, manifest: inForce.live.manifest, own, ring: inForce.ring.ring }, inForce };
}

/** Goes on with a newer manifest, or says why this process cannot. */
function goOn(
  { manifest, secrets }: HeldManifest,
  { live, ring }: InForce,
  site: string,
  stop: (reason: string) => void,
): RefusedManifest | undefined {
  if (ownEntry(manifest.sites, site) === undefined) {
    // Recipients are sent elsewhere as at any stop; the process that follows waits.
    stop('not_in_manifest');
    return undefined;
  }
  const needed = whatNeedsRestart(live.manifest, manifest, site);
  if (needed !== undefined) {
    // It is kept on disk like every other, and the process that follows begins with it.
    stop(needed);
    return undefined;
  }
  const replaced = secrets === undefined ? undefined : ring.replace(secrets);
  if (replaced?.ok === false) {
    return { reason: 'secrets_unreadable', detail: `manifest.relaySecrets: ${replaced.fault.join('; ')}` };
  }
  live.replace(manifest);
  return undefined;
}
