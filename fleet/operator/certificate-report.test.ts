/** How long a site's certificate is good for, in words that stand out when somebody has to do something. */
import { expect, test } from 'vitest';
import type { CertificateStatus } from '../../healthcheck/acme/keeper.ts';
import {
  certificateRows,
  isCertificateWell,
  renewalFaults,
  type SiteCertificate,
} from './certificate-report.ts';

const NOW_MS = Date.UTC(2026, 10, 30);
const DAY_MS = 86_400_000;
const ACCOUNT = 'https://ca.test/acct/1';
const acme: CertificateStatus = {
  accountUrl: ACCOUNT,
  notAfterWallMs: NOW_MS + 60 * DAY_MS,
  nextAttemptWallMs: NOW_MS + 30 * DAY_MS,
  failures: 0,
  lastFault: null,
};
/** Of 90 days, of which so many are left. */
const shown = (daysLeft: number): SiteCertificate['shown'] => ({
  notBeforeMs: NOW_MS + (daysLeft - 90) * DAY_MS,
  notAfterMs: NOW_MS + daysLeft * DAY_MS,
});

test.each<[string, Omit<SiteCertificate, 'site'>, string, string, boolean]>([
  ['young', { shown: shown(60), acme }, '60 days left', ACCOUNT, true],
  ['in its last quarter', { shown: shown(22), acme }, 'ENDS in 22 days', ACCOUNT, false],
  ['nearly over', { shown: shown(1), acme }, 'ENDS in 24 hours', ACCOUNT, false],
  ['over', { shown: shown(-3), acme }, 'EXPIRED 3 days ago', ACCOUNT, false],
  // A relay that did not take the new one matters more than what its vantage has.
  ['old at the relay', { shown: shown(-1), acme }, 'EXPIRED 24 hours ago', ACCOUNT, false],
  ['not seen', { shown: null, acme }, '60 days left, relays not seen from here', ACCOUNT, true],
  [
    'not there yet',
    { shown: null, acme: { ...acme, accountUrl: null, notAfterWallMs: null } },
    'NONE YET',
    'NONE YET',
    false,
  ],
  ['of files', { shown: shown(60), acme: null }, '60 days left', 'none: files of the operators', true],
  ['of files, old', { shown: shown(2), acme: null }, 'ENDS in 2 days', 'none: files of the operators', false],
  [
    'of nobody who answers',
    { shown: null, acme: undefined },
    'not seen from here',
    'its vantage does not answer',
    true,
  ],
])('a certificate that is %s', (_, one, end, account, isWell) => {
  const certificate = { site: 'aws', ...one };
  expect(certificateRows([certificate], NOW_MS)[1]).toEqual(['aws', end, account]);
  expect(isCertificateWell(certificate, NOW_MS)).toBe(isWell);
});

test('a renewal that fails is told with what the authority said, and when it is tried again', () => {
  const lastFault = { fault: 'challenge_failed', detail: 'no TXT record', atWallMs: NOW_MS } as const;
  const failing = { ...acme, failures: 4, lastFault };
  const lines = renewalFaults([
    { site: 'aws', shown: shown(60), acme: failing },
    { site: 'gcp', shown: shown(60), acme },
    // It failed once, and worked since.
    { site: 'hetzner', shown: shown(60), acme: { ...acme, lastFault } },
  ]);
  expect(lines).toEqual([
    'aws: 4 attempts in a row gave NO NEW CERTIFICATE, the last at 2026-11-30T00:00:00.000Z, the next at 2026-12-30T00:00:00.000Z.',
    '  challenge_failed: no TXT record (docs/certificates.md says what to do)',
  ]);
});
