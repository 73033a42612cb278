/**
 * What a local fleet knows and shows: its certificate authority, and an operators' directory with the keys of every
 * site and a manifest signed over all of it, made by the functions behind `fleet init`, `add-site`, `compose` and
 * `sign`. Written to files once, and kept when a site's data is destroyed: a site that comes back is the same site.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type Authority,
  type CertificateContext,
  issueServerCertificate,
  makeAuthority,
} from '../certificates.ts';
import { type Manifest, WEIGHT_DEFAULT } from '../manifest/manifest.ts';
import { DRAFT_FILE, type Draft, draftText } from '../operator/draft.ts';
import { makeFleet, onCallPath } from '../operator/new-fleet.ts';
import { manifestFrom, signDraft } from '../operator/signing.ts';
import { filesOf } from '../operator/site-files.ts';
import { makeSite, type SiteFiles, siteFilePath } from '../operator/site-keys.ts';
import { withAddresses } from '../operator/stack-output.ts';
import { MANIFEST_FILE, type SignedManifest } from '../operator/workspace.ts';
import type { Ports, SiteLayout } from './layout.ts';

/** Who has a manifest. */
type Node = (typeof NODES)[number];
const NODES = ['relay', 'vantage'] as const;

export interface Identities {
  readonly manifest: Manifest;
  /** The manifest as the operators signed it. */
  readonly signed: SignedManifest;
  /** The operators' public key, 32 bytes as base64url. */
  readonly manifestKey: string;
  readonly authorityPem: string;
  /** The operators' directory, for `npm run fleet -- COMMAND --dir`. */
  readonly operators: string;
  readonly files: {
    readonly authority: string;
    /** The relays' common secrets. */
    readonly secrets: string;
    readonly onCall: string;
  };
  /** Where a node keeps its manifest; it is there already when nodes need not wait. */
  manifestFile(site: string, part: Node): string;
  /** A key or a certificate of a site. */
  siteFile(site: string, name: SiteFile): string;
  redisPassword(site: string): string;
}

type SiteFile =
  | 'relay.pem'
  | 'relay.key'
  | 'peer.pem'
  | 'peer.key'
  | 'redis-password'
  | 'vantage.pem'
  | 'vantage.key'
  | 'vote.key'
  | 'zone.key'
  | 'operator-token';

const SITE_FILES: Readonly<Record<SiteFile, readonly [keyof SiteFiles, string]>> = {
  'relay.pem': ['relay', 'tls-certificate'],
  'relay.key': ['relay', 'tls-key'],
  'peer.pem': ['relay', 'peer-certificate'],
  'peer.key': ['relay', 'peer-key'],
  'redis-password': ['redis', 'redis-password'],
  'vantage.pem': ['nameserver', 'tls-certificate'],
  'vantage.key': ['nameserver', 'tls-key'],
  'vote.key': ['nameserver', 'vote-key'],
  'zone.key': ['nameserver', 'zone-key'],
  'operator-token': ['nameserver', 'operator-token'],
};

const ZONE = 'relay.test';
const ON_CALL = 'you';
/** Of a passphrase that guards nothing, in a directory that goes away. */
const ITERATIONS = 1000;
const PASSPHRASE = 'for a fleet on one machine';

/**
 * Makes everything anew and writes it into `directory`, readable by its owner only. The nodes of `waiting` find no
 * manifest where they keep it, and wait for a push.
 */
export async function makeIdentities(
  directory: string,
  sites: readonly SiteLayout[],
  ports: Ports,
  context: CertificateContext,
  waiting: readonly Node[] = [],
): Promise<Identities> {
  const write: WriteFile = (name, content) => {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const authority = await makeAuthority(context);
  const { vault, files, ...made } = await makeFleet({
    zone: ZONE,
    port: ports.relay,
    onCall: [ON_CALL],
    passphrase: PASSPHRASE,
    iterations: ITERATIONS,
    random: context.random,
  });
  for (const [name, content] of files) write(join(OPERATORS, name), content);
  let draft = made.draft;
  for (const site of sites) {
    draft = await addSite(draft, site, {
      ports,
      authority,
      context,
      write,
      manifestKey: vault.manifestKey.x,
    });
  }
  const manifest = await manifestFrom(composed(draft, sites), vault, { version: 1, wallMs: context.wallMs });
  const signed = await signDraft(composed(draft, sites), vault, manifest);
  write(join(OPERATORS, DRAFT_FILE), draftText(signed.draft));
  write(join(OPERATORS, MANIFEST_FILE), `${signed.signed}\n`);
  const manifestFile: Identities['manifestFile'] = (site, part) =>
    join(directory, site, `${part}-manifest.jws`);
  for (const { name } of sites) {
    mkdirSync(join(directory, name), { recursive: true, mode: 0o700 });
    for (const part of NODES.filter((node) => !waiting.includes(node))) {
      writeFileSync(manifestFile(name, part), signed.signed, { mode: 0o600 });
    }
  }
  const siteFile: Identities['siteFile'] = (site, name) => {
    const [role, file] = SITE_FILES[name];
    return join(directory, OPERATORS, siteFilePath(site, role, file));
  };
  return {
    manifest,
    signed: { ...signed, manifest },
    manifestKey: vault.manifestKey.x,
    authorityPem: authority.certificatePem,
    operators: join(directory, OPERATORS),
    files: {
      authority: write('ca.pem', authority.certificatePem),
      secrets: write('secrets.json', JSON.stringify(vault.ring)),
      onCall: join(directory, OPERATORS, onCallPath(ON_CALL)),
    },
    manifestFile,
    siteFile,
    redisPassword: (site) => readFileSync(siteFile(site, 'redis-password'), 'utf8'),
  };
}

const OPERATORS = 'operators';

/** Writes a file below the fleet's directory and gives its path. */
type WriteFile = (name: string, content: string) => string;

interface Making {
  readonly ports: Ports;
  readonly authority: Authority;
  readonly context: CertificateContext;
  readonly write: WriteFile;
  readonly manifestKey: string;
}

/** What `fleet add-site` makes, and the relays' certificate, which comes from an authority. */
async function addSite(draft: Draft, { name }: SiteLayout, making: Making): Promise<Draft> {
  const { ports, authority, context, write, manifestKey } = making;
  const site = {
    name,
    provider: name,
    weight: WEIGHT_DEFAULT,
    dnsPort: ports.dns,
    votePort: ports.votes,
  };
  const made = await makeSite(draft, site, context);
  if (!made.ok) throw new Error(made.fault.join(' '));
  for (const [path, content] of filesOf(name, made.value, manifestKey)) {
    write(join(OPERATORS, path), content);
  }
  const relay = await issueServerCertificate(context, authority, [ZONE, `${name}.${ZONE}`]);
  write(join(OPERATORS, siteFilePath(name, 'relay', 'tls-certificate')), relay.certificatePem);
  write(join(OPERATORS, siteFilePath(name, 'relay', 'tls-key')), relay.keyPem);
  return made.value.draft;
}

/** What `fleet compose` does. */
function composed(draft: Draft, sites: readonly SiteLayout[]): Draft {
  const next = withAddresses(
    draft,
    sites.map(({ name, relayAddress, vantageAddress }) => ({
      site: name,
      relay: { ipv4: [relayAddress], ipv6: [] },
      nameserver: { ipv4: vantageAddress, ipv6: null },
    })),
  );
  if (!next.ok) throw new Error(next.fault.join(' '));
  return next.value;
}
