/**
 * The life of a relay process, from its environment to its exit code.
 *
 * Without a manifest that has its site, or without secrets, it waits: alive, not ready, the public port closed so that
 * everybody goes elsewhere. A newer manifest is adopted while it runs.
 */
import { setFlagsFromString } from 'node:v8';
import type { Clock } from '../system/clock.ts';
import { runUntilStopped } from '../system/lifecycle.ts';
import { createLog, type Log, writeToStdout } from '../system/log.ts';
import { createMetrics, type Metrics } from '../system/metrics.ts';
import { connectPinned } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
import { ok, type Result } from '../system/result.ts';
import { createMemoryStore } from './adapters/memory-store.ts';
import { openRedisStore } from './adapters/redis-store.ts';
import { RELAY_SETTINGS, type RelayConfig, readRelayBoot } from './config.ts';
import { COPIES_NEEDED } from './core/copies.ts';
import { followCertificate } from './follow-certificate.ts';
import { createMailboxTokenVerifier } from './http/mailbox-token.ts';
import { servePrivately } from './http/private-server.ts';
import { reloadOnHangup } from './live-ring.ts';
import { joinFleet, type Membership } from './membership.ts';
import type { MessageStore } from './ports.ts';
import { type RelayDeps, type StartedRelay, startRelay } from './relay.ts';
import { createAcceptor } from './replication/acceptor.ts';
import { openWaitingDoor } from './waiting-door.ts';

export interface RunRelayOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** What a drill replaces to show that it notices. */
  readonly overrides?: Partial<Pick<RelayDeps, 'createAcceptor' | 'outboxGraceMs' | 'copiesNeeded'>>;
}

/** Shorter than a write deadline, so that a hanging Redis is known before the sender is answered. */
const REDIS_COMMAND_TIMEOUT_MS = 800;
const REDIS_OPEN_TIMEOUT_MS = 10_000;
const OUTBOX_GRACE_MS = 1000;
/** Longer than requests under way and the release of everything may take, once recipients are gone. */
const STOP_WITHIN_MS = 25_000;

/**
 * How much larger than what lives V8's heap may become before all of it is collected, percent. V8 begins to collect when
 * less than a young generation (32 MB) is left, and lets the heap of a relay, of which 25 MB live, grow to 50 or 65 MB: so
 * under load one collection followed the other.
 */
const HEAP_GROWING_PERCENT = 300;

/** Resolves when the process may exit; sets exit code 64 for wrong settings and 1 for a relay that cannot start. */
export async function runRelay({ environment, clock, overrides = {} }: RunRelayOptions): Promise<void> {
  const boot = readRelayBoot(environment);
  if (!boot.ok) {
    for (const fault of boot.fault) process.stderr.write(`${fault}\n`);
    process.exitCode = 64;
    return;
  }
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const { settings } = boot.value;
  const log = createLog({
    clock,
    base: { service: 'relay', site: settings.RELAY_SITE },
    level: settings.RELAY_LOG_LEVEL,
    write: writeToStdout,
  });
  const readSecrets = (): string | undefined =>
    RELAY_SETTINGS.RELAY_SECRETS.parse(environment['RELAY_SECRETS'] ?? '');
  await runUntilStopped(
    async (resources, stopped, stop) => {
      const metrics = createMetrics('relay_');
      let relay: StartedRelay | undefined;
      const membership = joinFleet(
        { boot: boot.value, readSecrets, clock, log, metrics, stop, lacking: () => relay?.lacking() ?? [] },
        resources,
      );
      const reasons = (): readonly string[] => relay?.readinessReasons() ?? [membership.waiting()];
      await servePrivately(settings.RELAY_PRIVATE_LISTEN, reasons, metrics, resources);
      const config = await membership.begun(stopped, () =>
        openWaitingDoor({
          at: settings.RELAY_LISTEN,
          certificatePem: settings.RELAY_PEER_CERTIFICATE,
          keyPem: settings.RELAY_PEER_KEY,
          reason: () => membership.waiting(),
        }),
      );
      if (config === undefined) return;
      relay = await serve(config, { clock, log, metrics, overrides, membership }, resources);
      membership.onChange(relay.sitesChanged);
    },
    {
      log,
      clock,
      stopWithinMs: settings.RELAY_DRAIN_MS + settings.RELAY_DRAIN_SPREAD_MS + STOP_WITHIN_MS,
      stopWhenStdinEnds: settings.RELAY_STOP_WITH_STDIN === 'yes',
    },
  );
}

interface ServeDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly overrides: NonNullable<RunRelayOptions['overrides']>;
  readonly membership: Membership;
}

async function serve(
  config: RelayConfig,
  { clock, log, metrics, overrides, membership }: ServeDeps,
  resources: AsyncDisposableStack,
): Promise<StartedRelay> {
  reloadOnHangup(membership.ring(), membership.secretsNow, log, resources);
  const store = await openStore(config, clock, log);
  if (!store.ok) throw new Error(store.fault.join('; '));
  if (!store.value.durable) {
    log.warn('the store is this process: every message is lost when it ends; never use it in production');
  }
  const shown = await followCertificate(config, { clock, metrics, log }, resources);
  return startRelay(
    config,
    {
      store: store.value,
      clock,
      random: systemRandom,
      log,
      metrics,
      copiesNeeded: COPIES_NEEDED,
      outboxGraceMs: OUTBOX_GRACE_MS,
      createAcceptor,
      connectPeer: connectPinned,
      createVerifier: createMailboxTokenVerifier,
      hasCertificate: () => shown.current() !== undefined,
      ...overrides,
    },
    { shown },
    resources,
  );
}

async function openStore(
  { settings, ring }: Pick<RelayConfig, 'settings' | 'ring'>,
  clock: Clock,
  log: Log,
): Promise<Result<MessageStore, readonly string[]>> {
  if (settings.RELAY_STORE === 'memory' || settings.RELAY_REDIS === undefined) return ok(createMemoryStore());
  const password = settings.RELAY_REDIS_PASSWORD?.trim();
  return openRedisStore({
    nodes: settings.RELAY_REDIS,
    ...(settings.RELAY_REDIS_USER === undefined ? {} : { username: settings.RELAY_REDIS_USER }),
    ...(password === undefined ? {} : { password }),
    pepper: ring.pepper,
    commandTimeoutMs: REDIS_COMMAND_TIMEOUT_MS,
    openTimeoutMs: REDIS_OPEN_TIMEOUT_MS,
    clock,
    random: systemRandom,
    log,
  });
}
