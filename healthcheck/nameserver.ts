/**
 * The nameserver of a vantage: the zone that is in force, in wire format, behind a door with cookies and a budget for
 * each network. What it cannot compile it does not serve: then it keeps what it has, and says so loudly.
 */
import type { Clock } from '../system/clock.ts';
import { describeError } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import type { Endpoint } from '../system/settings.ts';
import { startDnsServer } from './adapters/dns-server.ts';
import type { VantageConfig } from './config.ts';
import type { Zone } from './core/zone.ts';
import { type CompiledZone, compileZone } from './dns/compile.ts';
import { COOKIE_SECRET_BYTES, type CookieSecrets } from './dns/cookie.ts';
import { createDoor } from './dns/door.ts';
import { createRateLimit } from './dns/rate-limit.ts';
import type { Events } from './events.ts';

export interface Nameserver {
  /** Serves this zone from now on, unless it must not be served. */
  publish(zone: Zone): void;
  /** True once there is something to serve. */
  isReady(): boolean;
}

interface NameserverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly resources: AsyncDisposableStack;
}

/** Cookies of the last secret are still good for the hour that a cookie lives (RFC 9018 §5). */
const COOKIE_SECRET_ROTATES_MS = 86_400_000;

/** Binds the sockets; rejects with a ListenError. Until the first zone is published every query gets SERVFAIL. */
export async function startNameserver(
  config: Pick<VantageConfig, 'site' | 'cookieSecrets' | 'responsesPerSecond'>,
  endpoint: Endpoint,
  { clock, random, events, resources }: NameserverDeps,
): Promise<Nameserver> {
  let zone: CompiledZone | undefined;
  const { responsesPerSecond } = config;
  const door = createDoor({
    zone: () => zone,
    secrets: cookieSecrets(config.cookieSecrets, clock, random, resources),
    rateLimit:
      responsesPerSecond === 0
        ? undefined
        : createRateLimit({ responsesPerSecond, seed: Math.floor(random.fraction() * 2 ** 32) }),
    serverId: Buffer.from(config.site, 'latin1'),
    firstTurn: random.fraction(),
  });
  const server = await startDnsServer({
    endpoint,
    door,
    replied: (rcode) => events.queryAnswered(rcode),
    discarded: (reason) => events.packetDiscarded(reason),
    clock,
  });
  resources.defer(async () => server.close());
  return {
    publish: (next) => {
      try {
        zone = compileZone(next, undefined);
      } catch (error) {
        events.zoneRefused(describeError(error));
      }
    },
    isReady: () => zone !== undefined,
  };
}

/** The operators' secrets, for servers that share an address; otherwise one of our own, replaced every day. */
function cookieSecrets(
  given: CookieSecrets | undefined,
  clock: Clock,
  random: Random,
  resources: AsyncDisposableStack,
): () => CookieSecrets {
  if (given !== undefined) return () => given;
  let secrets: CookieSecrets = [random.bytes(COOKIE_SECRET_BYTES)];
  let cancel: (() => void) | undefined;
  const rotateLater = (): void => {
    cancel = clock.after(COOKIE_SECRET_ROTATES_MS, () => {
      secrets = [random.bytes(COOKIE_SECRET_BYTES), ...secrets.slice(0, 1)];
      rotateLater();
    });
  };
  rotateLater();
  resources.defer(() => cancel?.());
  return () => secrets;
}
