/**
 * When to ask a certificate authority for a certificate: at two thirds of the life of the one there is, so that a third
 * is left for whatever goes wrong, or when the authority suggests (ARI, RFC 9773); and after a failure later and later,
 * but never sooner than the authority asked for.
 *
 * Wall-clock times throughout, milliseconds since 1970, because that is what certificates and authorities speak of.
 */
import { type BackoffConfig, backoffMs } from '../../system/backoff.ts';
import type { Validity } from '../../system/server-certificate.ts';

/** What the authority suggests: renew at some moment in between. */
export interface RenewalWindow {
  readonly startMs: number;
  readonly endMs: number;
}

/** The attempt that failed last. */
export interface FailedAttempt {
  /** In a row, 1 or more. */
  readonly failures: number;
  readonly atMs: number;
  /** How long the authority asked to wait; 0 when it did not say. */
  readonly retryAfterMs: number;
  /** Chance in [0, 1), drawn once for this failure. */
  readonly fraction: number;
}

const RENEW_AT_SHARE = 2 / 3;
/** Sites whose certificates are of one age do not renew together. */
const JITTER_SHARE = 1 / 15;
/** Whatever an authority suggests, a sixth of the life is left. */
const LATEST_SHARE = 5 / 6;
/** An authority that asks for more is asked once a day: a figure that is wrong must not end renewals. */
const RETRY_AFTER_MS_MAX = 86_400_000;
/** Authorities count failed validations by the hour; Let's Encrypt allows five for a name and account. */
const BACKOFF: BackoffConfig = { baseMs: 60_000, maxMs: 1_800_000 };

/** When to renew; `fraction` in [0, 1) is this vantage's own, drawn once for the certificate. */
export function renewAtMs(
  { notBeforeMs, notAfterMs }: Validity,
  fraction: number,
  suggested?: RenewalWindow,
): number {
  const lifeMs = notAfterMs - notBeforeMs;
  if (suggested === undefined) return notBeforeMs + lifeMs * (RENEW_AT_SHARE - JITTER_SHARE * fraction);
  const { startMs, endMs } = suggested;
  const suggestedMs = startMs + Math.max(0, endMs - startMs) * fraction;
  return Math.min(suggestedMs, notBeforeMs + lifeMs * LATEST_SHARE);
}

/** When to try again after a failure. */
export function retryAtMs({ failures, atMs, retryAfterMs, fraction }: FailedAttempt): number {
  const asked = Math.min(Math.max(0, retryAfterMs), RETRY_AFTER_MS_MAX);
  return atMs + Math.max(asked, backoffMs(failures, fraction, BACKOFF));
}

export interface CertificateOutlook {
  /** Undefined: there is none, or none for the names of today. */
  readonly certificate: Validity | undefined;
  /** When this process got it; undefined when it was there at the start. */
  readonly issuedAtMs?: number | undefined;
  readonly fraction: number;
  readonly suggested?: RenewalWindow | undefined;
  readonly failed?: FailedAttempt | undefined;
}

/** A certificate that is due as soon as it is issued, by whosever wrong clock, must not be asked for without a pause. */
const PAUSE_SHARE = 1 / 10;
const PAUSE_MS_MAX = 3_600_000;

/** When the next attempt is due; in the past: now. */
export function nextAttemptMs(outlook: CertificateOutlook): number {
  const { certificate, issuedAtMs, fraction, suggested, failed } = outlook;
  const due: number[] = [];
  if (certificate !== undefined) due.push(renewAtMs(certificate, fraction, suggested));
  if (certificate !== undefined && issuedAtMs !== undefined) {
    const lifeMs = certificate.notAfterMs - certificate.notBeforeMs;
    due.push(issuedAtMs + Math.min(PAUSE_MS_MAX, lifeMs * PAUSE_SHARE));
  }
  if (failed !== undefined) due.push(retryAtMs(failed));
  return Math.max(Number.NEGATIVE_INFINITY, ...due);
}
