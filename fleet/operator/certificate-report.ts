/**
 * What `fleet status` says of the sites' certificates: how long the one that clients are shown is good for, in words
 * that stand out when somebody has to do something, and how its renewal and its account with the authority stand.
 */
import type { CertificateStatus } from '../../healthcheck/acme/keeper.ts';
import { isEnding, type Validity } from '../../system/server-certificate.ts';

/** Of one site. */
export interface SiteCertificate {
  readonly site: string;
  /** Null: the site's relays were not reached. */
  readonly shown: Validity | null;
  /** What its vantage says; null: operators give the files; undefined: the vantage does not answer. */
  readonly acme: CertificateStatus | null | undefined;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Whether somebody has to do something: it has ended or is in the last quarter of its life, or there is none. */
export function isCertificateWell({ shown, acme }: SiteCertificate, wallMs: number): boolean {
  if (shown !== null) return !isEnding(shown, wallMs);
  if (acme === null || acme === undefined) return true;
  return acme.notAfterWallMs !== null && acme.notAfterWallMs > wallMs;
}

/** The rows of a table, its head first. */
export function certificateRows(
  certificates: readonly SiteCertificate[],
  wallMs: number,
): readonly (readonly string[])[] {
  return [
    ['site', 'certificate', 'account with the authority'],
    ...certificates.map((one) => [one.site, endOf(one, wallMs), accountOf(one)]),
  ];
}

/** A line for each renewal that fails. */
export function renewalFaults(certificates: readonly SiteCertificate[]): readonly string[] {
  return certificates.flatMap(({ site, acme }) => {
    const { failures = 0, lastFault = null, nextAttemptWallMs = null } = acme ?? {};
    if (failures === 0 || lastFault === null) return [];
    const next = nextAttemptWallMs === null ? '' : `, the next at ${dateOf(nextAttemptWallMs)}`;
    return [
      `${site}: ${failures === 1 ? '1 attempt' : `${failures} attempts in a row`} gave NO NEW CERTIFICATE, the last at ${dateOf(lastFault.atWallMs)}${next}.`,
      `  ${lastFault.fault}: ${lastFault.detail} (docs/certificates.md says what to do)`,
    ];
  });
}

function endOf({ shown, acme }: SiteCertificate, wallMs: number): string {
  const notAfterMs = shown?.notAfterMs ?? acme?.notAfterWallMs ?? null;
  if (notAfterMs === null) return acme === null || acme === undefined ? 'not seen from here' : 'NONE YET';
  const seen = shown === null ? ', relays not seen from here' : '';
  if (notAfterMs <= wallMs) return `EXPIRED ${lengthOf(wallMs - notAfterMs)} ago${seen}`;
  const left = lengthOf(notAfterMs - wallMs);
  return shown !== null && isEnding(shown, wallMs) ? `ENDS in ${left}` : `${left} left${seen}`;
}

function accountOf({ acme }: SiteCertificate): string {
  if (acme === undefined) return 'its vantage does not answer';
  return acme === null ? 'none: files of the operators' : (acme.accountUrl ?? 'NONE YET');
}

function lengthOf(ms: number): string {
  if (ms >= 2 * DAY_MS) return `${Math.floor(ms / DAY_MS)} days`;
  if (ms >= 2 * HOUR_MS) return `${Math.floor(ms / HOUR_MS)} hours`;
  return ms >= MINUTE_MS ? `${Math.floor(ms / MINUTE_MS)} min` : `${Math.floor(ms / 1000)} s`;
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
