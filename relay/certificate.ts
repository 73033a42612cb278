/**
 * The certificate that clients are shown, replaced while the relay runs: connections that exist go on with what they
 * have, and the next handshake sees the new one.
 *
 * It comes from the operators' files or from the vantage of the own site. Whatever cannot be had, or does not fit,
 * leaves the one that is shown as it is, also when that has expired: clients then refuse it, and people are told long
 * before.
 */
import type { Clock } from '../system/clock.ts';
import { describeError } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import type { Result } from '../system/result.ts';
import {
  type CertificatePair,
  isEnding,
  readServerCertificate,
  type ServerCertificate,
} from '../system/server-certificate.ts';
import type { CertificateEvents, LookFault } from './certificate-events.ts';

/** A look that brought nothing; `detail` completes the log line. */
export interface LookFailure {
  readonly fault: LookFault;
  readonly detail: string;
}

/** A place where certificates come from. */
export interface CertificateSource {
  /** About how long to wait between two looks, milliseconds: while there is no certificate, and when there is one. */
  readonly everyMs: { readonly without: number; readonly with: number };
  /** What is there now, undefined when that is still `shown`. Never rejects. */
  look(shown: CertificatePair | undefined): Promise<Result<CertificatePair | undefined, LookFailure>>;
  /** Keeps what was taken, for the next start. */
  keep?(pair: CertificatePair): Promise<void>;
}

export interface ShownCertificate {
  current(): ServerCertificate | undefined;
  show(certificate: ServerCertificate): void;
  /** Calls `listener` with every certificate that is shown from now on. */
  onChange(listener: (certificate: ServerCertificate) => void): void;
}

/** Nothing is shown at first. */
export function createShownCertificate(): ShownCertificate {
  let current: ServerCertificate | undefined;
  const listeners: ((certificate: ServerCertificate) => void)[] = [];
  return {
    current: () => current,
    show: (certificate) => {
      current = certificate;
      for (const listener of listeners) listener(certificate);
    },
    onChange: (listener) => void listeners.push(listener),
  };
}

export interface CertificateWatchOptions {
  readonly source: CertificateSource;
  readonly shown: ShownCertificate;
  /** What it must be valid for. */
  readonly names: () => readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly events: CertificateEvents;
}

export interface CertificateWatch {
  /** Looks once; resolves when what was found is shown. */
  readonly look: () => Promise<void>;
  /** Looks every so often until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
  /** Does not wait for the next look of `run`. */
  readonly lookNow: () => void;
}

const TELL_EVERY_MS = 3_600_000;

/** Takes every certificate of the source that fits. */
export function createCertificateWatch(options: CertificateWatchOptions): CertificateWatch {
  const { source, shown, clock, random } = options;
  const look = createLook(options);
  let waiting = new AbortController();
  return {
    look,
    lookNow: () => waiting.abort(),
    run: async (stopped) => {
      while (!stopped.aborted) {
        // Relays of a site that were started together do not ask together.
        const ms = pauseMs(source, shown.current()) * (0.5 + random.fraction());
        await clock.sleep(ms, AbortSignal.any([stopped, waiting.signal])).catch(() => undefined);
        waiting = new AbortController();
        if (!stopped.aborted) await look();
      }
    },
  };
}

/** The pause of the source, or a hundredth of the certificate's life if that is shorter. */
function pauseMs({ everyMs }: CertificateSource, current: ServerCertificate | undefined): number {
  if (current === undefined) return everyMs.without;
  return Math.min(everyMs.with, (current.notAfterMs - current.notBeforeMs) / 100);
}

/** One look, and what follows from it. */
function createLook({ source, shown, names, clock, events }: CertificateWatchOptions): () => Promise<void> {
  let lastFault = '';
  let toldMs = Number.NEGATIVE_INFINITY;
  const notTaken = (fault: LookFault, detail: string): void => {
    events.notTaken(fault, detail, lastFault !== detail);
    lastFault = detail;
  };
  const take = async (pair: CertificatePair): Promise<void> => {
    const read = readServerCertificate(pair, names());
    if (!read.ok) {
      notTaken('wrong', read.fault);
      return;
    }
    lastFault = '';
    shown.show(read.value);
    events.shown(read.value);
    await source.keep?.(pair).catch((error: unknown) => events.notKept(describeError(error)));
  };
  return async () => {
    const current = shown.current();
    const found = await source.look(current);
    if (!found.ok) notTaken(found.fault.fault, found.fault.detail);
    else if (found.value !== undefined && !isSame(found.value, current)) await take(found.value);
    else {
      lastFault = '';
      events.unchanged();
    }
    const now = shown.current();
    if (now === undefined || !isEnding(now, clock.wallMs())) return;
    if (clock.monotonicMs() - toldMs < TELL_EVERY_MS) return;
    toldMs = clock.monotonicMs();
    events.ending(now);
  };
}

function isSame(a: CertificatePair, b: CertificatePair | undefined): boolean {
  return a.chainPem === b?.chainPem && a.keyPem === b.keyPem;
}
