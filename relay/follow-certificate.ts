/**
 * Where this relay's certificate comes from, and that it is looked for while the relay runs, and at once at SIGHUP.
 */
import { join } from 'node:path';
import { siteOrigin } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { systemRandom } from '../system/random.ts';
import { certificateFiles } from './adapters/certificate-files.ts';
import { certificatesFromVantage } from './adapters/certificate-from-vantage.ts';
import {
  type CertificateSource,
  createCertificateWatch,
  createShownCertificate,
  type ShownCertificate,
} from './certificate.ts';
import { createCertificateEvents } from './certificate-events.ts';
import type { RelayConfig } from './config.ts';
import { ownEntry } from './live-manifest.ts';

const KEPT_IN = 'certificate.json';

/** Resolves after the first look, with or without a certificate. */
export async function followCertificate(
  config: RelayConfig,
  { clock, metrics, log }: { readonly clock: Clock; readonly metrics: Metrics; readonly log: Log },
  resources: AsyncDisposableStack,
): Promise<ShownCertificate> {
  const { manifest, own } = config;
  const shown = createShownCertificate();
  const watch = createCertificateWatch({
    source: sourceOf(config),
    shown,
    names: () => [manifest.zone, new URL(siteOrigin(manifest, own.name)).hostname],
    clock,
    random: systemRandom,
    events: createCertificateEvents(metrics, log, () => clock.wallMs()),
  });
  await watch.look();
  const stopping = new AbortController();
  const running = watch.run(stopping.signal);
  process.on('SIGHUP', watch.lookNow);
  resources.defer(async () => {
    process.off('SIGHUP', watch.lookNow);
    stopping.abort(new Error('stopping'));
    await running;
  });
  return shown;
}

function sourceOf({ certificate, manifest, own, settings }: RelayConfig): CertificateSource {
  if (certificate.from === 'files') {
    return certificateFiles(certificate.certificatePath, certificate.keyPath);
  }
  return certificatesFromVantage({
    vantage: () => {
      const { vantage } = ownEntry(manifest.sites, own.name) ?? own;
      return [vantage.ipv4, vantage.ipv6]
        .filter((address) => address !== null)
        .map((host) => ({
          host,
          port: vantage.votePort,
          serverName: `vantage.${own.name}.${manifest.zone}`,
          pins: vantage.pins,
        }));
    },
    identity: { certificatePem: settings.RELAY_PEER_CERTIFICATE, keyPem: settings.RELAY_PEER_KEY },
    path: join(certificate.stateDir, KEPT_IN),
  });
}
