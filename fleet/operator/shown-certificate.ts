/**
 * The certificate that clients are shown at a site, looked at from wherever the operator is: what a vantage knows of it
 * is what it handed on, and this is what came of that.
 */
import type { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import type { Validity } from '../../system/server-certificate.ts';
import type { Manifest, SiteEntry } from '../manifest/manifest.ts';

const WITHIN_MS = 3000;

/**
 * Asks at every address of the site's relays, and gives the certificate that ends first; null when none answers. Who
 * issued it is not asked: vantages verify that, several times a minute. Never rejects.
 */
export async function shownAt(
  { relay }: Pick<SiteEntry, 'relay'>,
  { zone, port }: Pick<Manifest, 'zone' | 'port'>,
): Promise<Validity | null> {
  const found = await Promise.all([...relay.ipv4, ...relay.ipv6].map((host) => lookAt(host, port, zone)));
  const shown = found.filter((one) => one !== undefined);
  return shown.toSorted((a, b) => a.notAfterMs - b.notAfterMs)[0] ?? null;
}

async function lookAt(host: string, port: number, servername: string): Promise<Validity | undefined> {
  const { promise, resolve } = Promise.withResolvers<X509Certificate | undefined>();
  const socket = connect({ host, port, servername, rejectUnauthorized: false });
  const timer = setTimeout(() => resolve(undefined), WITHIN_MS);
  socket
    .once('secureConnect', () => resolve(socket.getPeerX509Certificate()))
    .on('error', () => resolve(undefined))
    .once('close', () => resolve(undefined));
  const certificate = await promise;
  clearTimeout(timer);
  socket.destroy();
  if (certificate === undefined) return undefined;
  return {
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}
