/**
 * The nameserver of a vantage: the zone that is in force behind a door with cookies and a budget for each network.
 */
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import type { Endpoint } from '../system/settings.ts';
import { canBatch } from './adapters/datagrams.ts';
import { type DnsServerOptions, startDnsServer } from './adapters/dns-server.ts';
import { createDnsWorkers, type DnsWorkers, type DnsWorkersOptions } from './adapters/dns-workers.ts';
import { createNotifier, type Notifier } from './adapters/notify.ts';
import type { VantageConfig } from './config.ts';
import type { ChallengeRecords } from './core/zone.ts';
import { COOKIE_SECRET_BYTES, type CookieSecrets } from './dns/cookie.ts';
import { createDoor } from './dns/door.ts';
import { createRateLimit, type RateLimitOptions, rateLimitMemory } from './dns/rate-limit.ts';
import { createTransfers } from './dns/transfer.ts';
import type { TransferZone } from './dns/transfer-zone.ts';
import type { Events } from './events.ts';
import { createZoneKeeper, type ZoneContent, type ZoneKeeper } from './zone-keeper.ts';

export interface Nameserver {
  /** Serves this zone from now on, unless it must not be served. */
  readonly publish: ZoneKeeper['publish'];
  /** Serves nothing any more: SERVFAIL, so that resolvers ask another nameserver. */
  withdraw(): void;
  /** Serves these ACME challenges beside everything else. */
  setChallenges(records: readonly ChallengeRecords[]): void;
  /** True once there is something to serve. */
  isReady(): boolean;
}

export type NameserverConfig = Pick<
  VantageConfig,
  'site' | 'dnsThreads' | 'zoneKey' | 'transferKeys' | 'secondaries' | 'responsesPerSecond' | 'cookieSecrets'
>;

interface NameserverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly resources: AsyncDisposableStack;
}

/** Cookies of the last secret are still good for the hour that a cookie lives (RFC 9018 §5). */
const COOKIE_SECRET_ROTATES_MS = 86_400_000;
/** A main thread that stands still for so long hangs: probes of five intervals were missed, and votes of it are stale. */
const SILENCE_MS_MAX = 10_000;

/** Binds the sockets; rejects with a ListenError. Until the first zone is published every query gets SERVFAIL. */
export async function startNameserver(
  config: NameserverConfig,
  endpoint: Endpoint,
  { clock, random, events, resources }: NameserverDeps,
): Promise<Nameserver> {
  const { site, zoneKey } = config;
  const secrets = cookieSecrets(config.cookieSecrets, clock, random, resources, (renewed) =>
    workers?.tell({ kind: 'secrets', secrets: renewed }),
  );
  const rateLimit = rateLimitOf(config, random);
  const workers = createWorkers(config, { secrets: secrets(), rateLimit }, { clock, random, events });
  const notify = notifying(config, endpoint, { clock, random, events, resources });
  const transferChanged = (zone: TransferZone): void => {
    workers?.tell({ kind: 'transfer', zone });
    notify(zone.apex);
  };
  const keeper = createZoneKeeper({
    site,
    zoneKey,
    clock,
    events,
    resources,
    changed: (zone) => workers?.tell({ kind: 'zone', zone }),
    transferChanged: config.transferKeys.length === 0 ? undefined : transferChanged,
  });
  const door = createDoor({
    zone: keeper.inForce,
    secrets,
    rateLimit: workers === undefined && rateLimit !== undefined ? createRateLimit(rateLimit) : undefined,
    transfers: createTransfers({ keys: config.transferKeys, zone: keeper.forTransfer }),
    serverId: serverIdOf(config),
    firstTurn: random.fraction(),
  });
  const server = await startDnsServer({
    endpoint,
    door,
    workers,
    ...counting(events),
    clock,
  });
  resources.defer(async () => server.close());
  let content: ZoneContent | undefined;
  let challenges: readonly ChallengeRecords[] = [];
  const publish = (): void => {
    if (content !== undefined) keeper.publish({ ...content, challenges });
  };
  return {
    publish: (next) => {
      content = next;
      publish();
    },
    withdraw: () => {
      content = undefined;
      keeper.withdraw();
    },
    setChallenges: (records) => {
      challenges = records;
      publish();
    },
    isReady: () => keeper.inForce() !== undefined,
  };
}

/** The budget over UDP, in memory that all threads share; TCP has none. */
function rateLimitOf({ responsesPerSecond }: NameserverConfig, random: Random): RateLimitOptions | undefined {
  if (responsesPerSecond === 0) return undefined;
  return { responsesPerSecond, seed: Math.floor(random.fraction() * 2 ** 32), memory: rateLimitMemory() };
}

function serverIdOf({ site }: NameserverConfig): Uint8Array {
  return Uint8Array.from(Buffer.from(site, 'latin1'));
}

function counting(events: Events): Pick<DnsServerOptions, 'replied' | 'discarded'> {
  return {
    replied: (rcode, count) => events.queryAnswered(rcode, count),
    discarded: (reason, count) => events.packetDiscarded(reason, count),
  };
}

/** Undefined: this thread answers over UDP, because it is asked to or because nothing else is possible. */
function createWorkers(
  config: NameserverConfig,
  { secrets, rateLimit }: Pick<DnsWorkersOptions, 'secrets' | 'rateLimit'>,
  { clock, random, events }: Pick<NameserverDeps, 'clock' | 'random' | 'events'>,
): DnsWorkers | undefined {
  const threads = canBatch() ? config.dnsThreads : 0;
  events.dnsThreads(threads);
  if (threads === 0) return undefined;
  return createDnsWorkers({
    threads,
    secrets,
    rateLimit,
    transferKeys: config.transferKeys,
    serverId: serverIdOf(config),
    silenceMsMax: SILENCE_MS_MAX,
    firstTurn: () => random.fraction(),
    clock,
    ...counting(events),
    ended: (why) => events.dnsThreadEnded(why),
  });
}

/** The operators' secrets, for servers that share an address; otherwise one of our own, replaced every day. */
function cookieSecrets(
  given: CookieSecrets | undefined,
  clock: Clock,
  random: Random,
  resources: AsyncDisposableStack,
  renewed: (secrets: CookieSecrets) => void,
): () => CookieSecrets {
  if (given !== undefined) return () => given;
  let secrets: CookieSecrets = [random.bytes(COOKIE_SECRET_BYTES)];
  let cancel: (() => void) | undefined;
  const rotateLater = (): void => {
    cancel = clock.after(COOKIE_SECRET_ROTATES_MS, () => {
      secrets = [random.bytes(COOKIE_SECRET_BYTES), ...secrets.slice(0, 1)];
      renewed(secrets);
      rotateLater();
    });
  };
  rotateLater();
  resources.defer(() => cancel?.());
  return () => secrets;
}

/** Tells the secondaries, from the first change on. */
function notifying(
  { transferKeys, secondaries }: NameserverConfig,
  { host }: Endpoint,
  { clock, random, events, resources }: NameserverDeps,
): (apex: string) => void {
  let notifier: Notifier | undefined;
  resources.defer(() => notifier?.close());
  return (zone) => {
    const [key] = transferKeys;
    if (key === undefined) return;
    notifier ??= createNotifier({
      zone,
      secondaries,
      key,
      from: host,
      clock,
      random,
      notified: (outcome) => events.secondaryNotified(outcome),
    });
    notifier.notify();
  };
}
