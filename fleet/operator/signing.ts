/**
 * From a draft to a signed manifest: the zone's keys signed by the operators' zone key, the relays' secrets sealed for
 * every site, and the operators' signature over all of it.
 */
import { createPrivateKey } from 'node:crypto';
import { signZoneKeys } from '../../healthcheck/dns/zone-keys.ts';
import type { Manifest, SiteName } from '../manifest/manifest.ts';
import { sealRelaySecrets } from '../manifest/relay-secrets.ts';
import { signManifest } from '../manifest/signed.ts';
import { type Draft, hasAddresses } from './draft.ts';
import { mintingId } from './ring.ts';
import type { Vault } from './vault.ts';

const BACKDATED_SECONDS = 3600;
/** docs/dnssec.md: renewed after 30. */
const ZONE_KEYS_VALID_SECONDS = 60 * 86_400;
const ZONE_KEYS_TTL_SECONDS = 3600;

export interface SigningTerms {
  readonly version: number;
  /** Now, milliseconds since 1970. */
  readonly wallMs: number;
}

/** The manifest that this draft becomes. Sites without addresses and overrides that have ended are left out. */
export async function manifestFrom(draft: Draft, vault: Vault, terms: SigningTerms): Promise<Manifest> {
  const { version, wallMs } = terms;
  const { overrides, ...rest } = draft.manifest;
  const nowSeconds = Math.floor(wallMs / 1000);
  const secrets = JSON.stringify(vault.ring);
  const sites = rest.sites.filter(hasAddresses);
  const isIn = (name: SiteName | null): boolean => sites.some((site) => site.name === name);
  return {
    ...rest,
    version,
    sites,
    overrides: {
      sites: overrides.sites.filter(({ site, untilWallMs }) => isIn(site) && untilWallMs > wallMs),
      frozenUntilWallMs:
        overrides.frozenUntilWallMs !== null && overrides.frozenUntilWallMs > wallMs
          ? overrides.frozenUntilWallMs
          : null,
    },
    zoneKeys: signZoneKeys({
      zone: rest.zone,
      ttlSeconds: ZONE_KEYS_TTL_SECONDS,
      siteKeys: draft.zoneKeys.filter(({ site }) => isIn(site)),
      operatorKeys: vault.zoneKeys.map((pem) => createPrivateKey(pem)),
      inceptionSeconds: nowSeconds - BACKDATED_SECONDS,
      expirationSeconds: nowSeconds + ZONE_KEYS_VALID_SECONDS,
    }),
    relaySecrets: await Promise.all(
      sites.map(
        async ({ name }) => await sealRelaySecrets(secrets, name, draft.peerCertificates[name] ?? ''),
      ),
    ),
  };
}

/** The compact JWS, and the draft that remembers what ring it was signed with. */
export async function signDraft(
  draft: Draft,
  vault: Vault,
  manifest: Manifest,
): Promise<{ readonly draft: Draft; readonly signed: string; readonly signedNext: string | undefined }> {
  const { manifestKey, nextManifestKey: next } = vault;
  return {
    signed: await signManifest(manifest, manifestKey),
    signedNext: next === undefined ? undefined : await signManifest(manifest, next),
    draft: {
      ...draft,
      signedRing: { ids: vault.ring.capabilityKeys.map(({ id }) => id), minting: mintingId(vault.ring) },
    },
  };
}
