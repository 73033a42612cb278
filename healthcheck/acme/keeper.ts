/**
 * Keeps this site in a certificate: gets the first one, renews it long before it ends, and hands it to the relays of
 * its site. It never gives up, and a failure leaves the certificate that is there.
 *
 * The vantage does this because it could anyway: whoever runs a nameserver of the zone can prove control of it. So the
 * key adds no power to this machine, relays hold no account, and any number of them share one certificate.
 */
import { join } from 'node:path';
import type { SecureContext } from 'node:tls';
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import {
  isEnding,
  keepCertificate,
  readKeptCertificate,
  readServerCertificate,
  type ServerCertificate,
} from '../../system/server-certificate.ts';
import { probeTrust } from '../adapters/https-probe.ts';
import {
  type FailedAttempt,
  nextAttemptMs,
  type RenewalWindow,
  retryAtMs,
} from '../core/certificate-plan.ts';
import { openAccount } from './account.ts';
import { type KnownAccount, readAccount, writeAccountUrl } from './account-file.ts';
import type { AcmeEvents } from './events.ts';
import { AcmeFailure, type AcmeFault } from './fault.ts';
import { obtainCertificate } from './order.ts';
import { namesOf, type Place, untilSettled } from './place.ts';
import { publishEverywhere } from './publication.ts';
import { renewalIdOf, suggestedWindow } from './renewal-info.ts';
import { type AcmeSession, createAcmeSession } from './session.ts';
import type { AcmeConfig } from './settings.ts';

export interface CertificateKeeperOptions {
  readonly acme: AcmeConfig;
  readonly site: SiteName;
  readonly stateDir: string;
  /** Undefined while there is no manifest that has this site. */
  readonly place: () => Place | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: AcmeEvents;
}

/** What a person asks of it; part of `/status`. */
export interface CertificateStatus {
  /** What a CAA record has to name (RFC 8657 `accounturi`); null until the authority has told it. */
  readonly accountUrl: string | null;
  /** Milliseconds since 1970; null while there is no certificate. */
  readonly notAfterWallMs: number | null;
  readonly nextAttemptWallMs: number | null;
  readonly failures: number;
  readonly lastFault: {
    readonly fault: AcmeFault;
    readonly detail: string;
    readonly atWallMs: number;
  } | null;
}

export interface CertificateKeeper {
  /** The one for the relays; undefined while there is none. */
  current(): ServerCertificate | undefined;
  status(): CertificateStatus;
  /** Does not wait any longer after a failure; a certificate that is not due is left alone. */
  tryAgain(): void;
  /** Until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

interface State {
  /** Whom the authority's own HTTPS is believed by. */
  readonly trust: SecureContext;
  account: KnownAccount;
  certificate: ServerCertificate | undefined;
  /** It comes from an authority that is no longer the configured one. */
  isFromElsewhere: boolean;
  issuedAtMs: number | undefined;
  /** Which moment of those that are good for a renewal is this certificate's. */
  fraction: number;
  suggested: RenewalWindow | undefined;
  suggestionAskedMs: number;
  failed: FailedAttempt | undefined;
  lastFault: CertificateStatus['lastFault'];
  toldMs: number;
}

const CERTIFICATE_FILE = 'certificate.json';
/** Order, challenges and certificate together. */
const ATTEMPT_MS = 300_000;
/** Clocks jump and manifests change: the plan is made anew at least so often. */
const LOOK_EVERY_MS = 3_600_000;
const SUGGESTION_EVERY_MS = 21_600_000;

/** Reads what is on disk. Rejects when the account's key can be neither read nor made. */
export async function openCertificateKeeper(options: CertificateKeeperOptions): Promise<CertificateKeeper> {
  const { acme, site, stateDir, clock, random, events } = options;
  const kept = await readKeptCertificate(join(stateDir, CERTIFICATE_FILE));
  const read = kept === undefined ? undefined : readServerCertificate(kept, []);
  const account = await readAccount(stateDir, acme);
  const state: State = {
    trust: probeTrust(acme.extraCa),
    account,
    certificate: read?.ok === true ? read.value : undefined,
    isFromElsewhere: account.url === undefined,
    issuedAtMs: undefined,
    fraction: random.fraction(),
    suggested: undefined,
    suggestionAskedMs: Number.NEGATIVE_INFINITY,
    failed: undefined,
    lastFault: null,
    toldMs: Number.NEGATIVE_INFINITY,
  };
  if (state.certificate !== undefined) events.held(state.certificate);
  let waiting = new AbortController();
  const current = (): ServerCertificate | undefined => fitting(state.certificate, options);
  const dueMs = (): number =>
    nextAttemptMs({ ...state, certificate: state.isFromElsewhere ? undefined : current() });
  return {
    current,
    tryAgain: () => {
      state.failed = undefined;
      waiting.abort();
    },
    status: () => ({
      accountUrl: state.account.url ?? null,
      notAfterWallMs: state.certificate?.notAfterMs ?? null,
      nextAttemptWallMs: Number.isFinite(dueMs()) ? Math.round(dueMs()) : null,
      failures: state.failed?.failures ?? 0,
      lastFault: state.lastFault,
    }),
    run: async (stopped) => {
      // At once, so that a CAA record can name the account before there is a certificate.
      if (state.account.url === undefined) await attempt(state, options, stopped, register);
      await untilSettled(options.place, site, clock, stopped);
      while (!stopped.aborted) {
        tellIfEnding(state, options);
        await askForSuggestion(state, options, stopped);
        const waitMs = dueMs() - clock.wallMs();
        if (waitMs <= 0) await attempt(state, options, stopped, obtain);
        else {
          waiting = new AbortController();
          const signal = AbortSignal.any([stopped, waiting.signal]);
          await clock.sleep(Math.min(waitMs, LOOK_EVERY_MS), signal).catch(() => undefined);
        }
      }
    },
  };
}

/** The certificate, if it is one for the names of today. */
function fitting(
  certificate: ServerCertificate | undefined,
  { place, site }: CertificateKeeperOptions,
): ServerCertificate | undefined {
  const zone = place()?.manifest.zone;
  if (certificate === undefined || zone === undefined) return certificate;
  return readServerCertificate(certificate, namesOf(zone, site)).ok ? certificate : undefined;
}

function tellIfEnding(state: State, { clock, events }: CertificateKeeperOptions): void {
  const { certificate } = state;
  if (certificate === undefined || !isEnding(certificate, clock.wallMs())) return;
  if (clock.monotonicMs() - state.toldMs < LOOK_EVERY_MS) return;
  state.toldMs = clock.monotonicMs();
  events.ending(certificate);
}

async function askForSuggestion(
  state: State,
  options: CertificateKeeperOptions,
  stopped: AbortSignal,
): Promise<void> {
  const { certificate } = state;
  const { clock, events } = options;
  if (certificate === undefined || clock.monotonicMs() - state.suggestionAskedMs < SUGGESTION_EVERY_MS)
    return;
  state.suggestionAskedMs = clock.monotonicMs();
  const session = openSession(state, options, stopped);
  try {
    state.suggested = await suggestedWindow(session, certificate.chainPem);
    events.renewalInfo(state.suggested === undefined ? 'none' : 'suggested');
  } catch {
    // The last suggestion is as good as any; without one, two thirds of the life are.
    events.renewalInfo('failed');
  } finally {
    session.close();
  }
}

/** One attempt. Whatever goes wrong is told, and remembered for the time of the next one. */
async function attempt(
  state: State,
  options: CertificateKeeperOptions,
  stopped: AbortSignal,
  work: typeof obtain,
): Promise<void> {
  const { clock, random, events } = options;
  const tooSlow = new AbortController();
  const cancel = clock.after(ATTEMPT_MS, () => tooSlow.abort());
  try {
    await work(state, options, AbortSignal.any([stopped, tooSlow.signal]));
  } catch (error) {
    if (stopped.aborted) return;
    const failure = failureOf(error, tooSlow.signal.aborted);
    const atMs = clock.wallMs();
    state.failed = {
      failures: (state.failed?.failures ?? 0) + 1,
      atMs,
      retryAfterMs: failure.retryAfterMs,
      fraction: random.fraction(),
    };
    state.lastFault = { fault: failure.fault, detail: failure.message, atWallMs: atMs };
    events.failed(failure, retryAtMs(state.failed) - atMs);
  } finally {
    cancel();
  }
}

function failureOf(error: unknown, isTooSlow: boolean): AcmeFailure {
  if (isTooSlow) return new AcmeFailure('too_slow', `not done within ${ATTEMPT_MS / 1000} s`);
  return error instanceof AcmeFailure ? error : new AcmeFailure('not_acme', describeError(error));
}

async function register(state: State, options: CertificateKeeperOptions, signal: AbortSignal): Promise<void> {
  const session = openSession(state, options, signal);
  try {
    await signIn(session, state, options);
  } finally {
    session.close();
  }
}

/** The account signs from now on; its URL is told when it is a new one. */
async function signIn(
  session: AcmeSession,
  state: State,
  { acme, stateDir, events }: CertificateKeeperOptions,
): Promise<void> {
  const url = await openAccount(session, { ...acme, accountKey: state.account.key });
  if (url === state.account.url) return;
  state.account = { ...state.account, url };
  events.accountOpened(url);
  await writeAccountUrl(stateDir, acme, url).catch((error: unknown) =>
    events.notKept('account', describeError(error)),
  );
}

async function obtain(state: State, options: CertificateKeeperOptions, signal: AbortSignal): Promise<void> {
  const { acme, site, place, clock } = options;
  const here = place();
  if (here === undefined) throw new AcmeFailure('not_published', 'there is no manifest that has this site');
  const { zone, health } = here.manifest;
  // Longer than a resolver keeps another site's challenge, or that there is none.
  const where = { zone, site, staleMs: (health.ttlMinSeconds + 1) * 1000 };
  const session = openSession(state, options, signal);
  let hasPublished = false;
  try {
    await signIn(session, state, options);
    const pair = await obtainCertificate({
      session,
      accountKey: state.account.key,
      names: namesOf(zone, site),
      profile: acme.profile,
      replaces: await replacedBy(session, state.certificate),
      publish: async (values) => {
        hasPublished = true;
        await publishEverywhere(values, where, { publisher: here, clock, signal });
      },
      clock,
      signal,
    });
    await take(pair, state, options);
  } finally {
    session.close();
    // What is left would be forgotten after an hour; now nobody wonders what it is for.
    if (hasPublished) await here.publish('{"zone":[],"site":[]}');
  }
}

/** From now on the relays get this one. */
async function take(
  certificate: ServerCertificate,
  state: State,
  { stateDir, clock, random, events }: CertificateKeeperOptions,
): Promise<void> {
  Object.assign(state, {
    certificate,
    isFromElsewhere: false,
    issuedAtMs: clock.wallMs(),
    fraction: random.fraction(),
    suggested: undefined,
    suggestionAskedMs: Number.NEGATIVE_INFINITY,
    toldMs: Number.NEGATIVE_INFINITY,
    failed: undefined,
    lastFault: null,
  } satisfies Partial<State>);
  events.issued();
  events.held(certificate);
  await keepCertificate(join(stateDir, CERTIFICATE_FILE), certificate).catch((error: unknown) =>
    events.notKept('certificate', describeError(error)),
  );
}

/** Only authorities that give renewal information know what to do with it. */
async function replacedBy(
  session: AcmeSession,
  certificate: ServerCertificate | undefined,
): Promise<string | undefined> {
  if (certificate === undefined || (await session.url('renewalInfo')) === undefined) return undefined;
  return renewalIdOf(certificate.chainPem);
}

function openSession(
  { account, trust }: State,
  { acme, clock }: CertificateKeeperOptions,
  signal: AbortSignal,
): AcmeSession {
  return createAcmeSession({
    directoryUrl: acme.directoryUrl,
    accountKey: account.key,
    trust,
    wallMs: () => clock.wallMs(),
    signal,
  });
}
