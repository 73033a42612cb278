/**
 * What a local fleet knows and shows: its certificate authority, the keys of every site, the relays' common secrets,
 * and the manifest signed over all of it. Written to files once, and kept when a site's data is destroyed: a site
 * that comes back is the same site.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pinOf } from '../../system/pinned-tls.ts';
import {
  type Authority,
  type CertificateContext,
  issueServerCertificate,
  makeAuthority,
  makePinnedIdentity,
  makeVoteKey,
} from '../certificates.ts';
import {
  DEFAULT_HEALTH_POLICY,
  type Manifest,
  NO_OVERRIDES,
  type SiteEntry,
  WEIGHT_DEFAULT,
} from '../manifest/manifest.ts';
import { signManifest } from '../manifest/signed.ts';
import { makeZoneKeys } from '../zone-keys.ts';
import type { Ports, SiteLayout } from './layout.ts';

export interface Identities {
  readonly manifest: Manifest;
  /** The operators' public key, 32 bytes as base64url. */
  readonly manifestKey: string;
  readonly authorityPem: string;
  readonly files: {
    readonly manifest: string;
    readonly authority: string;
    readonly secrets: string;
    readonly redisPassword: string;
  };
  readonly redisPassword: string;
  /** The directory with the keys and certificates of a site. */
  siteFile(site: string, name: SiteFile): string;
}

type SiteFile =
  | 'relay.pem'
  | 'relay.key'
  | 'peer.pem'
  | 'peer.key'
  | 'vantage.pem'
  | 'vantage.key'
  | 'vote.key'
  | 'zone.key';

const ZONE = 'relay.test';

/** Makes everything anew and writes it into `directory`, readable by its owner only. */
export async function makeIdentities(
  directory: string,
  sites: readonly SiteLayout[],
  ports: Ports,
  context: CertificateContext,
): Promise<Identities> {
  const write: WriteFile = (name, content) => {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const authority = await makeAuthority(context);
  const entries = await Promise.all(
    sites.map(async (site) => makeSiteEntry(site, ports, authority, context, write)),
  );
  const zone = makeZoneKeys(
    ZONE,
    sites.map(({ name }) => name),
    context.wallMs,
  );
  for (const [site, pem] of zone.keyPem) write(join(site, 'zone.key' satisfies SiteFile), pem);
  const manifest: Manifest = {
    format: 1,
    version: 1,
    zone: ZONE,
    port: ports.relay,
    sites: entries,
    witnesses: [],
    health: DEFAULT_HEALTH_POLICY,
    steering: 'spread',
    externalCanaries: [],
    overrides: NO_OVERRIDES,
    zoneKeys: zone.zoneKeys,
  };
  const operators = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const base64url = (length: number): string =>
    Buffer.from(context.random.bytes(length)).toString('base64url');
  const redisPassword = base64url(24);
  return {
    manifest,
    manifestKey: operators.x ?? '',
    authorityPem: authority.certificatePem,
    files: {
      manifest: write('manifest.jws', await signManifest(manifest, operators)),
      authority: write('ca.pem', authority.certificatePem),
      secrets: write(
        'secrets.json',
        JSON.stringify({
          capabilityKeys: [{ id: base64url(4), key: base64url(32), mint: true }],
          pepper: base64url(32),
        }),
      ),
      redisPassword: write('redis-password', redisPassword),
    },
    redisPassword,
    siteFile: (site, name) => join(directory, site, name),
  };
}

/** Writes a file below the fleet's directory and gives its path. */
type WriteFile = (name: string, content: string) => string;

async function makeSiteEntry(
  site: SiteLayout,
  ports: Ports,
  authority: Authority,
  context: CertificateContext,
  write: WriteFile,
): Promise<SiteEntry> {
  const relay = await issueServerCertificate(context, authority, [ZONE, `${site.name}.${ZONE}`]);
  const peer = await makePinnedIdentity(context, `peer.${site.name}.${ZONE}`);
  const vantage = await makePinnedIdentity(context, `vantage.${site.name}.${ZONE}`);
  const vote = makeVoteKey();
  const files: Readonly<Record<Exclude<SiteFile, 'zone.key'>, string>> = {
    'relay.pem': relay.certificatePem,
    'relay.key': relay.keyPem,
    'peer.pem': peer.certificatePem,
    'peer.key': peer.keyPem,
    'vantage.pem': vantage.certificatePem,
    'vantage.key': vantage.keyPem,
    'vote.key': vote.keyPem,
  };
  for (const [name, content] of Object.entries(files)) write(join(site.name, name), content);
  return {
    name: site.name,
    provider: site.name,
    weight: WEIGHT_DEFAULT,
    relay: { ipv4: [site.relayAddress], ipv6: [], pins: [pinOf(peer.publicKeySpki)] },
    vantage: {
      ipv4: site.vantageAddress,
      ipv6: null,
      dnsPort: ports.dns,
      votePort: ports.votes,
      pins: [pinOf(vantage.publicKeySpki)],
      voteKey: vote.publicKey,
    },
  };
}
