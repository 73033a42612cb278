/**
 * Zone keys for a fleet that makes its own: one for the operators, which signs the DNSKEY set and is then thrown away,
 * and one for each site. In production the first never leaves the operators' hands: docs/dnssec.md.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { publicKeyText, signZoneKeys } from '../healthcheck/dns/zone-keys.ts';
import type { SiteName, ZoneKeySet } from './manifest/manifest.ts';

export interface LocalZoneKeys {
  readonly zoneKeys: ZoneKeySet;
  /** PKCS#8 PEM, by site. */
  readonly keyPem: ReadonlyMap<SiteName, string>;
}

const BACKDATED_SECONDS = 3600;
const VALID_SECONDS = 30 * 86_400;
const TTL_SECONDS = 3600;

/** A private key for signing a zone or its key set: EC on P-256 (RFC 6605). */
export function makeZoneKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** Makes all keys of a zone and signs their set for thirty days. */
export function makeZoneKeys(zone: string, sites: readonly SiteName[], wallMs: number): LocalZoneKeys {
  const keys = sites.map((site) => ({ site, key: makeZoneKey() }));
  const nowSeconds = Math.floor(wallMs / 1000);
  return {
    zoneKeys: signZoneKeys({
      zone,
      ttlSeconds: TTL_SECONDS,
      siteKeys: keys.map(({ site, key }) => ({ site, publicKey: publicKeyText(key) ?? '' })),
      operatorKeys: [makeZoneKey()],
      inceptionSeconds: nowSeconds - BACKDATED_SECONDS,
      expirationSeconds: nowSeconds + VALID_SECONDS,
    }),
    keyPem: new Map(keys.map(({ site, key }) => [site, key.export({ type: 'pkcs8', format: 'pem' })])),
  };
}
