/**
 * What is worth telling of the certificate that clients are shown: each event with its metric and its log line. No
 * name, key or serial of a certificate is told but the time at which it ends.
 */
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { ServerCertificate } from '../system/server-certificate.ts';

/** Why a look brought nothing. `none_yet`: the vantage has none either. */
const LOOK_FAULTS = ['none_yet', 'unreachable', 'refused', 'unreadable', 'wrong'] as const;
export type LookFault = (typeof LOOK_FAULTS)[number];

export interface CertificateEvents {
  /** From the next handshake on clients are shown this one. */
  shown(certificate: ServerCertificate): void;
  unchanged(): void;
  /** What is shown stays as it is; `isNew` when the last look had another result. */
  notTaken(fault: LookFault, detail: string, isNew: boolean): void;
  /** It is in the last quarter of its life, or past it. */
  ending(certificate: ServerCertificate): void;
  /** It is shown, but would not be there after a restart. */
  notKept(detail: string): void;
}

const DAY_MS = 86_400_000;

/** Counters at zero, and the time that is left: 0 when there is no certificate, negative when it has expired. */
export function createCertificateEvents(metrics: Metrics, log: Log, wallMs: () => number): CertificateEvents {
  let current: ServerCertificate | undefined;
  metrics.value('certificate_seconds_left', 'Until the certificate that clients are shown ends', () =>
    current === undefined ? 0 : Math.floor((current.notAfterMs - wallMs()) / 1000),
  );
  const looks = metrics.counter('certificate_looks_total', 'Looks for a newer certificate', 'outcome', [
    'taken',
    'unchanged',
    ...LOOK_FAULTS,
  ]);
  const kept = metrics.counter('certificate_not_kept_total', 'Certificates that could not be kept', 'where', [
    'disk',
  ]);
  const untilOf = ({ notAfterMs }: ServerCertificate): string => new Date(notAfterMs).toISOString();
  return {
    shown: (certificate) => {
      current = certificate;
      looks.add('taken');
      log.info('certificate', { until: untilOf(certificate) });
    },
    unchanged: () => looks.add('unchanged'),
    notTaken: (fault, detail, isNew) => {
      looks.add(fault);
      if (isNew) log[fault === 'none_yet' ? 'warn' : 'error']('certificate not taken', { fault, detail });
    },
    ending: (certificate) => {
      const daysLeft = Math.floor(((certificate.notAfterMs - wallMs()) / DAY_MS) * 10) / 10;
      log.error(daysLeft < 0 ? 'certificate expired' : 'certificate ends soon', {
        until: untilOf(certificate),
        daysLeft,
      });
    },
    notKept: (detail) => {
      kept.add('disk');
      log.error('certificate not kept', { detail });
    },
  };
}
