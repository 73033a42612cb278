/**
 * What a site needs before its machines can be made: its keys and secrets, as the files that each role of it gets, and
 * their public halves in the draft. The private halves are in nobody's hands but the site's and the operators'.
 */
import { publicKeyText } from '../../healthcheck/dns/zone-keys.ts';
import { pinOf } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { type CertificateContext, makeAccountKey, makePinnedIdentity } from '../certificates.ts';
import type { SiteEntry, SiteName } from '../manifest/manifest.ts';
import { makeZoneKey } from '../zone-keys.ts';
import { type Draft, draftFaults } from './draft.ts';
import { hashOf, makeVantageKeys, secretText } from './vantage-keys.ts';
import { zoneKeyPem } from './vault.ts';

export interface NewSite {
  readonly name: SiteName;
  readonly provider: string;
  readonly weight: number;
  readonly dnsPort: number;
  readonly votePort: number;
}

/** Roles and their files, as `archipelago:secrets` of the Pulumi program names them. */
export type SiteFiles = Readonly<Record<'relay' | 'redis' | 'nameserver', Readonly<Record<string, string>>>>;

export interface MadeSite {
  readonly draft: Draft;
  readonly files: SiteFiles;
  /** Lets its holder mint push URLs at this site; the site has only its hash. */
  readonly operatorToken: string;
}

/** Makes everything that is the site's own. The faults are sentences. */
export async function makeSite(
  draft: Draft,
  site: NewSite,
  context: CertificateContext,
): Promise<Result<MadeSite, readonly string[]>> {
  const { zone } = draft.manifest;
  if (draft.manifest.sites.some(({ name }) => name === site.name)) {
    return fail([`There is a site ${site.name} already; drop it first, or take another name.`]);
  }
  const peer = await makePinnedIdentity(context, `peer.${site.name}.${zone}`);
  const vantage = await makeVantageKeys(`vantage.${site.name}.${zone}`, context);
  const zoneKey = makeZoneKey();
  const operatorToken = secretText(context.random);
  const redisPassword = secretText(context.random);
  const entry: SiteEntry = {
    name: site.name,
    provider: site.provider,
    weight: site.weight,
    relay: { ipv4: [], ipv6: [], pins: [pinOf(peer.publicKeySpki)] },
    vantage: {
      ipv4: null,
      ipv6: null,
      dnsPort: site.dnsPort,
      votePort: site.votePort,
      ...vantage.listed,
    },
  };
  const next: Draft = {
    ...draft,
    manifest: { ...draft.manifest, sites: [...draft.manifest.sites, entry] },
    zoneKeys: [...draft.zoneKeys, { site: site.name, publicKey: publicKeyText(zoneKey) ?? '' }],
    peerCertificates: { ...draft.peerCertificates, [site.name]: peer.certificatePem },
  };
  const faults = draftFaults(next);
  if (faults.length > 0) return fail(faults);
  return ok({
    draft: next,
    operatorToken,
    files: {
      relay: {
        'peer-certificate': peer.certificatePem,
        'peer-key': peer.keyPem,
        'operator-tokens': `${hashOf(operatorToken).toString('hex')}\n`,
        'redis-password': redisPassword,
      },
      redis: {
        'redis-password': redisPassword,
        // The one provider of ours that leaves the encryption of disks to the machine.
        ...(site.provider === 'hetzner' ? { 'disk-key': secretText(context.random) } : {}),
      },
      nameserver: {
        ...vantage.files,
        'zone-key': zoneKeyPem(zoneKey),
        // Made here, so that the account outlives the machine, and so that operators can revoke what it was issued.
        'acme-account-key': makeAccountKey(),
      },
    },
  });
}

/** The draft without a site and without all that was its own. */
export function withoutSite(draft: Draft, name: SiteName): Draft {
  const { manifest, zoneKeys, peerCertificates } = draft;
  const { [name]: _, ...others } = peerCertificates;
  return {
    ...draft,
    manifest: {
      ...manifest,
      sites: manifest.sites.filter((site) => site.name !== name),
      overrides: {
        ...manifest.overrides,
        sites: manifest.overrides.sites.filter(({ site }) => site !== name),
      },
    },
    zoneKeys: zoneKeys.filter(({ site }) => site !== name),
    peerCertificates: others,
  };
}

/** Where a file of a site is in the operators' directory. */
export function siteFilePath(site: SiteName, role: keyof SiteFiles, file: string): string {
  return `${siteFolder(site)}/${role}/${file}`;
}

/** The folder of a site in the operators' directory. */
export function siteFolder(site: SiteName): string {
  return `sites/${site}`;
}
