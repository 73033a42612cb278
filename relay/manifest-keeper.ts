/**
 * The manifest as this relay holds it. Whatever arrives, from a vantage or from the disk, is verified here and compared
 * with what holds; a refused one changes nothing, and has a name.
 */
import { readFile } from 'node:fs/promises';
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import { openRelaySecrets } from '../fleet/manifest/relay-secrets.ts';
import { MANIFEST_FAULTS, type ManifestFault, openManifest } from '../fleet/manifest/signed.ts';
import type { Pin } from '../system/pinned-tls.ts';
import { fail, ok, type Result } from '../system/result.ts';
import { createTurns } from '../system/turns.ts';
import { writeWhole } from '../system/whole-file.ts';
import { parseKeyRing } from './core/key-ring.ts';
import { ownEntry } from './live-manifest.ts';

const REFUSED_HERE = ['not_newer', 'version_taken', 'own_entry_differs', 'secrets_unreadable'] as const;
export type ManifestRefusal = ManifestFault['reason'] | (typeof REFUSED_HERE)[number];
export const MANIFEST_REFUSALS: readonly ManifestRefusal[] = [...MANIFEST_FAULTS, ...REFUSED_HERE];

export interface RefusedManifest {
  readonly reason: ManifestRefusal;
  readonly detail: string;
}

export interface HeldManifest {
  readonly manifest: Manifest;
  readonly signed: string;
  /** The text of the secrets that are sealed for this site; undefined: there are none. */
  readonly secrets: string | undefined;
}

export interface ManifestKeeper {
  /** Undefined while there is none. */
  held(): HeldManifest | undefined;
  /** Takes a signed manifest if it is a good and newer one. */
  take(signed: string): Promise<Result<'adopted' | 'already', RefusedManifest>>;
  /** Takes the one on disk; undefined when there is none. */
  load(): Promise<Result<'adopted' | 'already', RefusedManifest> | undefined>;
}

export interface ManifestKeeperOptions {
  readonly site: SiteName;
  /** The operators' public key, 32 bytes as base64url. */
  readonly operatorsKey: string;
  readonly versionMin: number;
  /** Where the last good one is kept. */
  readonly path: string;
  /** Of the certificate that is shown to peers, and its private key (PEM). */
  readonly peerPin: Pin;
  readonly peerKeyPem: string;
  /** Goes on with it, or says why this process cannot. */
  readonly adopt: (next: HeldManifest) => RefusedManifest | undefined;
  readonly unwritable: () => void;
}

/** Holds nothing at first. */
export function createManifestKeeper(options: ManifestKeeperOptions): ManifestKeeper {
  const { path } = options;
  let current: HeldManifest | undefined;
  const keep = async (signed: string): Promise<void> => writeWhole(path, signed).catch(options.unwritable);
  const inTurn = createTurns();
  const take: ManifestKeeper['take'] = async (signed) => {
    const compact = signed.trim();
    if (compact === current?.signed) return ok('already');
    const next = await open(compact, current?.manifest.version ?? 0, options);
    if (!next.ok) return next;
    const refused = options.adopt(next.value);
    if (refused !== undefined) return fail(refused);
    // Before anything else runs: whoever was told of it asks what is held.
    current = next.value;
    await keep(compact);
    return ok('adopted');
  };
  return {
    held: () => current,
    take: async (signed) => inTurn(async () => take(signed)),
    load: async () => inTurn(load),
  };
  async function load(): ReturnType<ManifestKeeper['load']> {
    const signed = await readFile(path, 'utf8').catch(() => undefined);
    if (signed === undefined) return undefined;
    const taken = await take(signed);
    // The file is where the last good one is kept.
    if (!taken.ok && current !== undefined) await keep(current.signed);
    return taken;
  }
}

async function open(
  signed: string,
  running: number,
  options: ManifestKeeperOptions,
): Promise<Result<HeldManifest, RefusedManifest>> {
  const opened = await openManifest(signed, options.operatorsKey, options.versionMin);
  if (!opened.ok) return refuse(opened.fault.reason, opened.fault.details.join(' '));
  const manifest = opened.value;
  const { version } = manifest;
  if (version < running) return refuse('not_newer', `manifest: version ${version} is not above ${running}`);
  if (version === running) {
    return refuse('version_taken', `manifest: version ${version} is in force with other content`);
  }
  const { site, peerPin } = options;
  if (ownEntry(manifest.sites, site)?.relay.pins.includes(peerPin) === false) {
    return refuse(
      'own_entry_differs',
      `RELAY_PEER_CERTIFICATE: the manifest does not list its key for ${site} (relay.pins)`,
    );
  }
  const secrets = await openRelaySecrets(manifest, site, options.peerKeyPem);
  if (!secrets.ok) return refuse('secrets_unreadable', `manifest.relaySecrets: ${secrets.fault}`);
  const ring = secrets.value === undefined ? undefined : parseKeyRing(secrets.value);
  return ring?.ok === false
    ? refuse('secrets_unreadable', `manifest.relaySecrets: ${ring.fault.join('; ')}`)
    : ok({ manifest, signed, secrets: secrets.value });
}

function refuse(
  reason: ManifestRefusal,
  detail: string,
): { readonly ok: false; readonly fault: RefusedManifest } {
  return fail({ reason, detail });
}
