/**
 * The draft: all of the next manifest that operators decide, and the public keys that go into it. `fleet.json` in the
 * operators' directory; weights, policy and records are changed in it by hand, membership and keys by commands.
 *
 * A site is in it from the moment that it has keys, and without addresses until `fleet compose` brings them: keys come
 * before `pulumi up`, addresses after it.
 */

import { zoneFaults } from '../../healthcheck/core/zone.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { JsonReader } from '../manifest/json-reader.ts';
import {
  DEFAULT_HEALTH_POLICY,
  type Manifest,
  NO_OVERRIDES,
  type OnCallKey,
  type SiteEntry,
  type SiteName,
  type ZoneKey,
} from '../manifest/manifest.ts';
import { parseManifest } from '../manifest/parse.ts';

/** What signing adds: a version, signatures, and the secrets that it seals. */
type DraftManifest = Omit<Manifest, 'version' | 'zoneKeys' | 'relaySecrets'>;

export interface Draft {
  readonly manifest: DraftManifest;
  /** Of the sites: one each, or two while the second replaces the first. */
  readonly zoneKeys: readonly ZoneKey[];
  /** PEM, by site: who the relays' secrets are sealed for. */
  readonly peerCertificates: Readonly<Record<SiteName, string>>;
  /** Ids of the ring's keys in the last manifest that was signed, and which of them mints. */
  readonly signedRing: { readonly ids: readonly string[]; readonly minting: string } | null;
}

export const DRAFT_FILE = 'fleet.json';

/** A fleet without sites. */
export function emptyDraft(zone: string, port: number, onCallKeys: readonly OnCallKey[]): Draft {
  return {
    manifest: {
      format: 1,
      zone,
      port,
      sites: [],
      witnesses: [],
      health: DEFAULT_HEALTH_POLICY,
      onCallKeys,
      steering: 'spread',
      externalCanaries: [],
      overrides: NO_OVERRIDES,
    },
    zoneKeys: [],
    peerCertificates: {},
    signedRing: null,
  };
}

/** Whether its addresses are known. */
export function hasAddresses({ relay, vantage }: SiteEntry): boolean {
  return relay.ipv4.length + relay.ipv6.length > 0 && (vantage.ipv4 !== null || vantage.ipv6 !== null);
}

/** The draft as the file's text. */
export function draftText(draft: Draft): string {
  return `${JSON.stringify({ format: 1, ...draft }, null, 2)}\n`;
}

/** Reads `fleet.json`, which people edit: every fault at once, each with its path. */
export function parseDraft(text: string): Result<Draft, readonly string[]> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fail([`${DRAFT_FILE}: no JSON (${error instanceof Error ? error.message : 'unreadable'})`]);
  }
  const faults: string[] = [];
  const at = new JsonReader(value, DRAFT_FILE, faults);
  at.number('format', 1, 1);
  at.child('manifest');
  const zoneKeys = at.list('zoneKeys', 0, 32).map((key): ZoneKey => {
    const entry = {
      site: key.nullable('site', (name) => name !== ''),
      publicKey: key.string('publicKey', /^[A-Za-z0-9_-]{86}$/),
    };
    key.onlyTheseKeys();
    return entry;
  });
  at.child('peerCertificates');
  if (!at.isNull('signedRing')) readSignedRing(at.child('signedRing'));
  at.onlyTheseKeys();
  if (faults.length > 0) return fail(faults);
  // Their fields are checked with what they become: see `draftFaults`.
  const draft = { ...(value as Draft & { format?: 1 }), zoneKeys };
  delete draft.format;
  const wrong = draftFaults(draft);
  return wrong.length === 0 ? ok(draft) : fail(wrong);
}

function readSignedRing(at: JsonReader): void {
  at.strings('ids', 1, 16, (id) => id.length === 6);
  at.string('minting', /^[A-Za-z0-9_-]{6}$/);
  at.onlyTheseKeys();
}

/** A site as others would be, at addresses for documentation (RFC 5737), in place of what is not known yet. */
const UNKNOWN_ADDRESS = '192.0.2.1';
const SOME_SITE: SiteEntry = {
  name: 'unknown',
  provider: 'unknown',
  weight: 1,
  relay: { ipv4: [UNKNOWN_ADDRESS], ipv6: [], pins: ['A'.repeat(43)] },
  vantage: {
    ipv4: UNKNOWN_ADDRESS,
    ipv6: null,
    dnsPort: 53,
    votePort: 443,
    pins: ['B'.repeat(43)],
    voteKey: 'C'.repeat(43),
  },
};

/** What would be wrong with a manifest of this draft, once every site has its addresses; sentences. */
export function draftFaults(draft: Draft): readonly string[] {
  const { manifest, zoneKeys, peerCertificates } = draft;
  const sites = Array.isArray(manifest.sites) ? manifest.sites : [];
  const whole = sites.map((site) => (isSiteWithoutAddresses(site) ? withSomeAddress(site) : site));
  const parsed = parseManifest({
    ...manifest,
    version: 1,
    sites: whole.length === 0 ? [SOME_SITE] : whole,
  });
  if (!parsed.ok) return parsed.fault.map((fault) => fault.replace(/^manifest/, `${DRAFT_FILE}: manifest`));
  const names = new Set<string | null>(sites.map(({ name }) => name));
  return [
    ...zoneFaults(parsed.value),
    ...zoneKeys
      .filter(({ site }) => !names.has(site))
      .map(({ site }) => `${DRAFT_FILE}: zoneKeys has a key of ${JSON.stringify(site)}, which is no site`),
    ...sites
      .filter(({ name }) => !zoneKeys.some(({ site }) => site === name))
      .map(({ name }) => `${DRAFT_FILE}: zoneKeys has no key of ${JSON.stringify(name)}`),
    ...sites
      .filter(({ name }) => !String(peerCertificates[name]).startsWith('-----BEGIN CERTIFICATE-----'))
      .map(({ name }) => `${DRAFT_FILE}: peerCertificates has none of ${JSON.stringify(name)}`),
  ];
}

/** Of a site that anybody may have written: only what is there is looked at. */
function isSiteWithoutAddresses(site: SiteEntry): boolean {
  const { relay, vantage } = site as Partial<SiteEntry>;
  return (
    Array.isArray(relay?.ipv4) && Array.isArray(relay.ipv6) && vantage !== undefined && !hasAddresses(site)
  );
}

function withSomeAddress(site: SiteEntry): SiteEntry {
  const { relay, vantage } = site;
  const hasRelay = relay.ipv4.length + relay.ipv6.length > 0;
  const hasVantage = vantage.ipv4 !== null || vantage.ipv6 !== null;
  return {
    ...site,
    relay: hasRelay ? relay : { ...relay, ipv4: [UNKNOWN_ADDRESS] },
    vantage: hasVantage ? vantage : { ...vantage, ipv4: UNKNOWN_ADDRESS },
  };
}
