/**
 * The nameserver that `npm run bench:dns` measures, a process of its own: production's sockets, door, cookies and
 * signatures around a zone that stands still. The first parameter is JSON; a line on standard output says it is up.
 */
import { createPrivateKey } from 'node:crypto';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import { startTestNameserver } from '../support/nameserver.ts';

export interface DnsProcessOptions {
  readonly manifest: Manifest;
  readonly site: string;
  readonly address: string;
  readonly port: number;
  /** PKCS#8 PEM; null: the zone is not signed. */
  readonly zoneKeyPem: string | null;
  readonly responsesPerSecond: number;
  readonly dnsThreads: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as DnsProcessOptions;
const { zoneKeyPem } = options;
await startTestNameserver({
  ...options,
  zoneKey: zoneKeyPem === null ? undefined : createPrivateKey(zoneKeyPem),
});
process.stdout.write('up\n');
