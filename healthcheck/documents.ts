/**
 * What the operators have signed, as this vantage holds it: the manifest in force and the newest overrides. Whatever
 * arrives, from whomever, comes through here: it is verified, compared with what holds, kept on disk and then told.
 *
 * What is refused changes nothing: the running one stays (R9 in the reference).
 */
import { createHash } from 'node:crypto';
import type { Manifest } from '../fleet/manifest/manifest.ts';
import {
  admitOverrides,
  drainsEverything,
  OVERRIDES_FAULTS,
  type OverridesFault,
  openOverrides,
  overrideKeys,
  type SignedOverrides,
  withOverrides,
} from '../fleet/manifest/overrides.ts';
import { MANIFEST_FAULTS, type ManifestFault, openManifest } from '../fleet/manifest/signed.ts';
import type { Clock } from '../system/clock.ts';
import { fail, ok, type Result } from '../system/result.ts';
import { createTurns } from '../system/turns.ts';
import type { DocumentFiles } from './adapters/document-files.ts';

/** Why a manifest is not taken. */
export type ManifestRefusal = ManifestFault['reason'] | (typeof REFUSED_HERE)[number];
const REFUSED_HERE = ['not_newer', 'version_taken', 'own_entry_differs', 'unreadable'] as const;
export const MANIFEST_REFUSALS: readonly ManifestRefusal[] = [...MANIFEST_FAULTS, ...REFUSED_HERE];

/** Why overrides are not taken. */
export type OverridesRefusal = OverridesFault['reason'] | 'no_manifest';
export const OVERRIDES_REFUSALS: readonly OverridesRefusal[] = [...OVERRIDES_FAULTS, 'no_manifest'];

interface Refused<Reason> {
  readonly reason: Reason;
  readonly detail: string;
}

export interface Held {
  /** As the operators signed it. */
  readonly manifest: Manifest;
  readonly signed: string;
  readonly overrides: SignedOverrides | undefined;
  /** The manifest with the overrides before its own. */
  readonly inForce: Manifest;
  /** Names both texts together, as an entity tag (RFC 9110 §8.8.3). */
  readonly tag: string;
}

interface Taken {
  readonly outcome: 'adopted' | 'already';
  readonly version: number;
}

interface OverridesTaken {
  readonly outcome: 'adopted' | 'already';
  readonly sequence: number;
}

export interface Documents {
  /** Undefined while there is no manifest. */
  held(): Held | undefined;
  /** Resolves when it is in force, or refused. */
  takeManifest(signed: string): Promise<Result<Taken, Refused<ManifestRefusal>>>;
  takeOverrides(signed: string): Promise<Result<OverridesTaken, Refused<OverridesRefusal>>>;
  /** Takes what is on disk; gives what of it was refused. */
  load(): Promise<readonly Refused<ManifestRefusal | OverridesRefusal>[]>;
  /** Takes the manifest on disk again, if somebody put another one there. */
  reload(): Promise<Result<Taken, Refused<ManifestRefusal>>>;
}

export interface DocumentsOptions {
  /** The operators' public key, 32 bytes as base64url. */
  readonly operatorsKey: string;
  readonly versionMin: number;
  readonly files: DocumentFiles;
  readonly clock: Pick<Clock, 'wallMs'>;
  /** Faults of a manifest that no zone can be made from. */
  readonly zoneFaults: (manifest: Manifest) => readonly string[];
  /** What a manifest says of this vantage that is not so, as sentences. */
  readonly ownFaults: (manifest: Manifest) => readonly string[];
  /** Something new holds. The next document is looked at only after this. */
  readonly changed: (held: Held, before: Held | undefined) => Promise<void>;
  readonly unwritable: () => void;
}

/** Holds nothing at first. */
export function createDocuments(options: DocumentsOptions): Documents {
  const { files } = options;
  const holder = createHolder(options);
  // Two documents that arrive together cannot overtake each other.
  const inTurn = createTurns();
  const { takeManifest, takeOverrides } = takers(holder, options);
  const load = async (): Promise<readonly Refused<ManifestRefusal | OverridesRefusal>[]> => {
    const signed = await files.readManifest();
    if (signed === undefined) return [];
    // Before the manifest is taken: what is held then is written over what is there.
    const overrides = await files.readOverrides();
    const results = [
      await takeManifest(signed),
      overrides === undefined ? ok(undefined) : await loadOverrides(overrides, holder, options),
    ];
    return results.flatMap((result) => (result.ok ? [] : [result.fault]));
  };
  const reload = async (): Promise<Result<Taken, Refused<ManifestRefusal>>> => {
    const signed = await files.readManifest();
    const taken =
      signed === undefined
        ? refused<ManifestRefusal>('unreadable', ['manifest: the file cannot be read'])
        : await takeManifest(signed);
    const held = holder.held();
    // The file is where the last good one is kept.
    if (!taken.ok && held !== undefined) {
      await files.writeManifest(held.signed).catch(options.unwritable);
    }
    return taken;
  };
  return {
    held: holder.held,
    takeManifest: async (signed) => inTurn(async () => takeManifest(signed)),
    takeOverrides: async (signed) => inTurn(async () => takeOverrides(signed)),
    reload: async () => inTurn(reload),
    load: async () => inTurn(load),
  };
}

interface Holder {
  readonly held: () => Held | undefined;
  /** Puts in force, tells, and keeps on disk. */
  readonly hold: (next: Held) => Promise<void>;
}

function createHolder({ files, changed, unwritable }: DocumentsOptions): Holder {
  let current: Held | undefined;
  return {
    held: () => current,
    hold: async (next) => {
      const before = current;
      current = next;
      await changed(next, before);
      try {
        if (next.signed !== before?.signed) await files.writeManifest(next.signed);
        if (next.overrides?.signed !== before?.overrides?.signed) {
          await files.writeOverrides(next.overrides?.signed);
        }
      } catch {
        unwritable();
      }
    },
  };
}

function takers(
  { held, hold }: Holder,
  options: DocumentsOptions,
): Pick<Documents, 'takeManifest' | 'takeOverrides'> {
  const { operatorsKey } = options;
  return {
    takeManifest: async (signed) => {
      const compact = signed.trim();
      const current = held();
      if (current?.signed === compact) return ok({ outcome: 'already', version: current.manifest.version });
      const opened = await openManifest(compact, operatorsKey, options.versionMin);
      if (!opened.ok) return refused(opened.fault.reason, opened.fault.details);
      const manifest = opened.value;
      const next = heldFrom(manifest, compact, stillSigned(current?.overrides, manifest, operatorsKey));
      const refusal = whyNot(next, current, options);
      if (refusal !== undefined) return refusal;
      await hold(next);
      return ok({ outcome: 'adopted', version: manifest.version });
    },
    takeOverrides: async (signed) => {
      const current = held();
      if (current === undefined) return refused('no_manifest', ['overrides: there is no manifest yet']);
      const { manifest, overrides: before } = current;
      const opened = await openOverrides(signed, overrideKeys(manifest, operatorsKey));
      if (!opened.ok) return refused(opened.fault.reason, opened.fault.details);
      const { sequence } = opened.value.document;
      if (opened.value.signed === before?.signed) return ok({ outcome: 'already', sequence });
      const admitted = admitOverrides(opened.value.document, manifest, {
        held: before?.document.sequence ?? 0,
        wallMs: options.clock.wallMs(),
      });
      if (!admitted.ok) return refused(admitted.fault.reason, admitted.fault.details);
      await hold(heldFrom(manifest, current.signed, opened.value));
      return ok({ outcome: 'adopted', sequence });
    },
  };
}

/** They were admitted once; whether they still hold says the time in them. */
async function loadOverrides(
  signed: string,
  { held, hold }: Holder,
  { operatorsKey }: DocumentsOptions,
): Promise<Result<void, Refused<OverridesRefusal>>> {
  const current = held();
  if (current === undefined) return refused('no_manifest', ['overrides: there is no manifest yet']);
  const opened = await openOverrides(signed, overrideKeys(current.manifest, operatorsKey));
  if (!opened.ok) return refused(opened.fault.reason, opened.fault.details);
  await hold(heldFrom(current.manifest, current.signed, opened.value));
  return ok(undefined);
}

function heldFrom(manifest: Manifest, signed: string, overrides: SignedOverrides | undefined): Held {
  const inForce = overrides === undefined ? manifest : withOverrides(manifest, overrides.document.overrides);
  const texts = `${signed}\n${overrides?.signed ?? ''}`;
  const tag = `"${createHash('sha256').update(texts).digest('base64url')}"`;
  return { manifest, signed, overrides, inForce, tag };
}

/** Overrides end with the key that signed them. */
function stillSigned(
  overrides: SignedOverrides | undefined,
  manifest: Manifest,
  operatorsKey: string,
): SignedOverrides | undefined {
  return overrides !== undefined && overrideKeys(manifest, operatorsKey).has(overrides.publicKey)
    ? overrides
    : undefined;
}

function whyNot(
  { manifest, inForce }: Held,
  current: Held | undefined,
  { zoneFaults, ownFaults, clock }: DocumentsOptions,
): ReturnType<typeof refused<ManifestRefusal>> | undefined {
  const { version } = manifest;
  const running = current?.manifest.version ?? 0;
  if (version < running)
    return refused('not_newer', [`manifest: version ${version} is not above ${running}`]);
  if (version === running) {
    return refused('version_taken', [
      `manifest: version ${version} is in force with other content; sign it as ${version + 1}`,
    ]);
  }
  const faults = zoneFaults(manifest);
  if (faults.length > 0) return refused('invalid', faults);
  const differing = ownFaults(manifest);
  if (differing.length > 0) return refused('own_entry_differs', differing);
  return inForce !== manifest && drainsEverything(inForce, clock.wallMs())
    ? refused('drains_everything', [
        'manifest: with the overrides that were signed on call no site would be left; replace these first',
      ])
    : undefined;
}

function refused<Reason>(
  reason: Reason,
  details: readonly string[],
): { readonly ok: false; readonly fault: Refused<Reason> } {
  return fail({ reason, detail: details.join(' ') });
}
