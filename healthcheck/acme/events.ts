/**
 * What is worth telling of this site's certificate: each event with its metric and its log line.
 */
import type { Log } from '../../system/log.ts';
import type { Metrics } from '../../system/metrics.ts';
import type { ServerCertificate } from '../../system/server-certificate.ts';
import { ACME_FAULTS, type AcmeFailure } from './fault.ts';

export interface AcmeEvents {
  /** There from the start, or issued just now. */
  held(certificate: ServerCertificate): void;
  issued(): void;
  /** The certificate that is held stays; the next attempt is in so many milliseconds. */
  failed(failure: AcmeFailure, nextInMs: number): void;
  /** In the last quarter of its life, or past it. */
  ending(certificate: ServerCertificate): void;
  accountOpened(url: string): void;
  renewalInfo(outcome: 'suggested' | 'none' | 'failed'): void;
  /** Certificate or account could not be written to the state directory. */
  notKept(what: string, detail: string): void;
}

const DAY_MS = 86_400_000;

/** Counters at zero, and the time that is left: 0 when there is no certificate, negative when it has expired. */
export function createAcmeEvents(metrics: Metrics, log: Log, wallMs: () => number): AcmeEvents {
  let current: ServerCertificate | undefined;
  metrics.value('certificate_seconds_left', "Until this site's certificate ends", () =>
    current === undefined ? 0 : Math.floor((current.notAfterMs - wallMs()) / 1000),
  );
  const attempts = metrics.counter('certificate_attempts_total', 'Attempts to get a certificate', 'outcome', [
    'issued',
    ...ACME_FAULTS,
  ]);
  const renewalInfos = metrics.counter(
    'renewal_info_total',
    'What the authority suggested (ARI)',
    'outcome',
    ['suggested', 'none', 'failed'],
  );
  const unkept = metrics.counter('certificate_not_kept_total', 'What could not be written', 'what', [
    'certificate',
    'account',
  ]);
  return {
    held: (certificate) => {
      current = certificate;
      log.info('certificate', { until: new Date(certificate.notAfterMs).toISOString() });
    },
    issued: () => attempts.add('issued'),
    failed: ({ fault, message }, nextInMs) => {
      attempts.add(fault);
      log.error('no new certificate', { fault, detail: message, nextInSeconds: Math.ceil(nextInMs / 1000) });
    },
    ending: ({ notAfterMs }) => {
      const daysLeft = Math.floor(((notAfterMs - wallMs()) / DAY_MS) * 10) / 10;
      log.error(daysLeft < 0 ? 'certificate expired' : 'certificate ends soon', { daysLeft });
    },
    accountOpened: (url) => log.info('acme account', { url }),
    renewalInfo: (outcome) => renewalInfos.add(outcome),
    notKept: (what, detail) => {
      unkept.add(what === 'account' ? 'account' : 'certificate');
      log.error('certificate not kept', { what, detail });
    },
  };
}
