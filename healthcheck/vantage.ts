/**
 * A vantage process: the health checker beside a nameserver, and that nameserver, introduced to each other.
 *
 *   pushed, spread or on disk → documents → member: probes → judgement ⇄ votes of the other vantages
 *                                                                ↓
 *                                                    compiled zone → DNS server; state file; status
 *
 * Nothing here needs a cloud, a database or a leader: while this process runs, it answers. Without a manifest that has
 * it, it waits: alive, not ready, and listening for one. The policy is an argument, so that a drill can be shown to
 * fail with one that never withdraws.
 */
import { join } from 'node:path';
import { overrideKeys } from '../fleet/manifest/overrides.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { runUntilStopped } from '../system/lifecycle.ts';
import { createLog, type Log, writeToStdout } from '../system/log.ts';
import { createMetrics, type Metrics } from '../system/metrics.ts';
import { type Random, systemRandom } from '../system/random.ts';
import { fail } from '../system/result.ts';
import { certificateRoute } from './acme/certificate-route.ts';
import type { CertificateKeeper } from './acme/keeper.ts';
import { keepSiteCertificate } from './acme/site-certificate.ts';
import { DECISION_FILE_BYTES_MAX, decisionLinesAfter, openDecisionFile } from './adapters/decision-file.ts';
import { createDocumentFiles } from './adapters/document-files.ts';
import { startFleetPort } from './adapters/fleet-port.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { startStatusServer } from './adapters/status-server.ts';
import { readVantageConfig, type VantageConfig } from './config.ts';
import { entryFor } from './core/decision-log.ts';
import type { Choose } from './core/failover.ts';
import { vantageNamed } from './core/target.ts';
import { zoneFaults } from './core/zone.ts';
import { createDocuments, type Documents, type Held } from './documents.ts';
import { createEvents, type Events, type Waiting } from './events.ts';
import { callerWith, fleetRoutes } from './fleet-routes.ts';
import { registerGauges } from './gauges.ts';
import type { JudgementOptions } from './judgement.ts';
import { type Member, type MemberOptions, startMember } from './member.ts';
import { startNameserver } from './nameserver.ts';
import { ownEntryFaults } from './own-entry.ts';
import { createRelayReports, type RelayReports } from './relay-reports.ts';
import { createSpreading, type Spreading } from './spreading.ts';
import { statusOf, type WholeStatus, waitingStatus } from './status.ts';

interface VantageDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** `choose` of `core/failover.ts` everywhere but in drills that prove themselves. */
  readonly choose: Choose;
}

const STOP_WITHIN_MS = 5000;
const EXIT_USAGE = 64;
const TELL_WAITING_EVERY_MS = 60_000;
const OVERRIDES_FILE = 'overrides.jws';

/** Starts everything, and resolves once it serves or waits. Rejects with a ListenError when a port is taken. */
async function startVantage(
  config: VantageConfig,
  deps: VantageDeps,
  resources: AsyncDisposableStack,
): Promise<void> {
  const { clock, random } = deps;
  const events = createEvents(deps.log, deps.metrics, clock);
  const nameserver =
    config.dnsListen === undefined
      ? undefined
      : await startNameserver(config, config.dnsListen, { clock, random, events, resources });
  const decisions = await openDecisions(config, deps, events, resources);
  const seat = createSeat({ ...deps, config, events, nameserver, decided: decisions.decided });
  resources.defer(async () => seat.leave());
  registerGauges(deps.metrics, () => seat.member()?.judgement, clock);

  let spreading: Spreading | undefined;
  const documents = createDocuments({
    operatorsKey: config.manifestKey,
    versionMin: config.manifestVersionMin,
    files: createDocumentFiles(config.manifestPath, join(config.stateDir, OVERRIDES_FILE)),
    clock,
    zoneFaults,
    ownFaults: (manifest) => ownEntryFaults(config, manifest),
    changed: async (held, before) => {
      decisions.adopting(held);
      tellOverrides(held, before, config, events);
      await seat.take(held);
      spreading?.announce(held, before);
    },
    unwritable: () => events.stateFault('unwritable'),
  });
  const relays = createRelayReports(clock);
  const certificate = await keepSiteCertificate(config, { ...deps, member: () => seat.member() }, resources);
  const status = (): WholeStatus => wholeStatus(config, clock, parts);
  const parts: Parts = { documents, seat, relays, events, certificate, status };
  const privately = await startStatusServer(config.privateListen, {
    unready: () => {
      const waiting = seat.waiting();
      if (waiting !== undefined) return [waiting];
      return (nameserver?.isReady() ?? seat.member()?.isAnswering()) === true ? [] : ['starting'];
    },
    status: parts.status,
    metricsText: async () => deps.metrics.text(),
    publishChallenges: async (text) => seat.member()?.membership.publishChallenges(text),
  });
  resources.defer(async () => privately.close());
  for (const { reason, detail } of await documents.load()) deps.log.error('on disk', { reason, detail });
  await openFleetPort(config, clock, parts, resources);
  spreading = createSpreading({
    self: config.site,
    identity: config.identity,
    documents,
    clock,
    random,
    events,
  });
  spreading.start(resources);
  resources.defer(
    onHangUp(() => {
      void reload(documents, events);
      certificate?.tryAgain();
    }),
  );
  seat.tellWaiting(resources);
}

interface Parts {
  readonly documents: Documents;
  readonly seat: Seat;
  readonly relays: RelayReports;
  readonly events: Events;
  readonly certificate: CertificateKeeper | undefined;
  readonly status: () => WholeStatus;
}

async function openFleetPort(
  config: VantageConfig,
  clock: Clock,
  { documents, seat, relays, events, certificate, status }: Parts,
  resources: AsyncDisposableStack,
): Promise<void> {
  const port = await startFleetPort({
    endpoint: config.voteListen,
    identity: config.identity,
    clock,
    callerWith: (pin) => callerWith(pin, documents.held(), config.manifestKey),
    routes: [
      ...fleetRoutes({
        self: config.site,
        documents,
        events,
        receiveVote: async (signed, sender) =>
          seat.member()?.membership.receiveVote(signed, sender) ?? fail('waiting'),
        receiveChallenges: (text, sender) =>
          seat.member()?.membership.receiveChallenges(text, sender) ?? fail('waiting'),
        status,
        decisionsAfter: async (n) => decisionLinesAfter(config.stateDir, n),
        relaySays: (relay, said) => relays.note(relay, said),
      }),
      certificateRoute(config.site, () => certificate?.current()),
    ],
    refused: (reason) => events.doorRefused(reason),
  });
  resources.defer(async () => port.close());
}

async function reload(documents: Documents, events: Events): Promise<void> {
  const taken = await documents.reload();
  if (!taken.ok) events.manifestRefused(taken.fault.reason, taken.fault.detail);
}

function tellOverrides(held: Held, before: Held | undefined, config: VantageConfig, events: Events): void {
  if (held.overrides?.signed === before?.overrides?.signed) return;
  events.overridesAdopted(signerOf(held, config));
}

function signerOf({ manifest, overrides }: Held, { manifestKey }: VantageConfig): string | undefined {
  return overrides && overrideKeys(manifest, manifestKey).get(overrides.publicKey);
}

/** The vantage's place in the fleet, taken while the manifest has it. */
interface Seat {
  member(): Member | undefined;
  waiting(): Waiting | undefined;
  /** Goes on with what holds now; calls must not overlap. */
  take(held: Held): Promise<void>;
  leave(): Promise<void>;
  /** Says that it waits, once and then every minute. */
  tellWaiting(resources: AsyncDisposableStack): void;
}

function createSeat(options: MemberOptions): Seat {
  const { config, clock, random, events } = options;
  let member: Member | undefined;
  let waiting: Waiting | undefined = 'no_manifest';
  const leave = async (): Promise<void> => {
    const leaving = member;
    member = undefined;
    await leaving?.[Symbol.asyncDispose]();
  };
  return {
    member: () => member,
    waiting: () => waiting,
    leave,
    take: async ({ inForce }) => {
      if (vantageNamed(inForce, config.site) === undefined) {
        waiting = 'not_in_manifest';
        await leave();
        events.manifestAdopted(inForce.version);
        events.waiting(waiting);
        return;
      }
      if (member === undefined) member = await startMember(inForce, options);
      else await member.membership.adopt(inForce);
      waiting = undefined;
      events.waiting(undefined);
    },
    tellWaiting: (resources) => {
      const tell = (): void => events.waiting(waiting);
      tell();
      resources.defer(everyPeriod(TELL_WAITING_EVERY_MS, tell, { clock, random }));
    },
  };
}

function wholeStatus(
  config: VantageConfig,
  clock: Clock,
  { documents, seat, relays, certificate }: Parts,
): WholeStatus {
  const held = documents.held();
  const judgement = seat.member()?.judgement;
  const overrides = held?.overrides;
  const facts = {
    waiting: seat.waiting() ?? null,
    overrides:
      held === undefined || overrides === undefined
        ? null
        : { sequence: overrides.document.sequence, by: signerOf(held, config) ?? '' },
    relays: relays.now(),
    certificate: certificate?.status() ?? null,
  };
  if (judgement === undefined) {
    return { ...waitingStatus(config.site, held?.manifest), ...facts };
  }
  const now = { nowMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  return { ...statusOf(judgement.state(), judgement.stance(), now), ...facts };
}

interface Decisions {
  readonly adopting: (held: Held) => void;
  readonly decided: JudgementOptions['decided'];
}

/** The decision log, in which every change stands after the documents that it was decided under. */
async function openDecisions(
  config: VantageConfig,
  { clock }: Pick<VantageDeps, 'clock'>,
  events: Events,
  resources: AsyncDisposableStack,
): Promise<Decisions> {
  const file = await openDecisionFile({
    directory: config.stateDir,
    fileBytesMax: DECISION_FILE_BYTES_MAX,
    faulted: (fault) => events.stateFault(fault),
  });
  resources.defer(async () => file.settled());
  return {
    adopting: ({ signed, overrides }) => {
      const entry = { kind: 'manifest', signed, key: config.manifestKey } as const;
      file.append(
        overrides === undefined ? entry : { ...entry, overrides: overrides.signed },
        clock.wallMs(),
      );
    },
    decided: ({ circumstances, signedVotes, ...change }) =>
      file.append(entryFor(change, circumstances, signedVotes), circumstances.wallMs),
  };
}

/** SIGHUP: read the manifest again, and wait no longer for a certificate. */
function onHangUp(again: () => void): () => void {
  process.on('SIGHUP', again);
  return () => void process.off('SIGHUP', again);
}

/** The whole life of a vantage process: settings, start, stop. Faults in the settings end it with code 64. */
export async function runVantage(
  environment: Readonly<Record<string, string | undefined>>,
  choose: Choose,
): Promise<void> {
  const config = await readVantageConfig(environment);
  if (!config.ok) {
    process.stderr.write(config.fault.map((fault) => `${fault}\n`).join(''));
    process.exitCode = EXIT_USAGE;
    return;
  }
  const { site, logLevel, stopWithStdin } = config.value;
  const clock = systemClock;
  const log = createLog({ clock, base: { service: 'vantage', site }, level: logLevel, write: writeToStdout });
  const deps = { clock, random: systemRandom, log, metrics: createMetrics('vantage_'), choose };
  await runUntilStopped(async (resources) => startVantage(config.value, deps, resources), {
    log,
    clock,
    stopWithinMs: STOP_WITHIN_MS,
    stopWhenStdinEnds: stopWithStdin,
  });
}
