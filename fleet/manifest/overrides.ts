/**
 * Overrides as a document of their own: what somebody on call may sign without the operators' offline key. It says
 * only which sites are served, drained or kept out, and whether automation is frozen; it ends within a day of its
 * signing, and it changes neither membership nor keys.
 *
 * Of all such documents the newest holds, beside the manifest: for each site that it names, and until that entry
 * ends, it stands before the manifest's own word.
 */
import { CompactSign, compactVerify, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import { describeError } from '../../system/log.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { JsonReader } from './json-reader.ts';
import type { Manifest, Overrides, SiteName } from './manifest.ts';
import { readOverrides } from './parse.ts';

export interface OverridesDocument {
  readonly format: 1;
  /** When it was signed, milliseconds since 1970; of two documents the greater one is newer. */
  readonly sequence: number;
  readonly overrides: Overrides;
}

/** A document together with who vouches for it. */
export interface SignedOverrides {
  readonly document: OverridesDocument;
  /** As it arrived, for whoever is told of it next. */
  readonly signed: string;
  /** The public key that signed it, 32 bytes as base64url. */
  readonly publicKey: string;
}

/** Why overrides are not taken; what holds stays as it is. */
export const OVERRIDES_FAULTS = [
  'too_large',
  'not_signed',
  'invalid',
  'not_newer',
  'from_the_future',
  'too_long',
  'site_unknown',
  'drains_everything',
] as const;
export type OverridesFault = {
  readonly reason: (typeof OVERRIDES_FAULTS)[number];
  /** Sentences. */
  readonly details: readonly string[];
};

/** Nothing that was signed by somebody on call holds longer after its signing, milliseconds. */
export const OVERRIDE_MS_MAX = 86_400_000;
/** Clocks of people and nodes may differ by so much, milliseconds. */
const CLOCK_SKEW_MS_MAX = 600_000;
export const SIGNED_OVERRIDES_BYTES_MAX = 16_384;
const TYPE = 'archipelago-overrides+json';

/** Signs with the private key of somebody on call or of the operators, an Ed25519 JWK that contains `d`. */
export async function signOverrides(document: OverridesDocument, privateJwk: JWK): Promise<string> {
  const key = await importJWK(privateJwk, 'EdDSA');
  return new CompactSign(new TextEncoder().encode(JSON.stringify(document)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid: privateJwk.x ?? '' })
    .sign(key);
}

/** Who may sign overrides: those on call, and the operators themselves. Names are for people. */
export function overrideKeys(
  { onCallKeys = [] }: Pick<Manifest, 'onCallKeys'>,
  operatorsKey: string,
): ReadonlyMap<string, string> {
  return new Map([
    [operatorsKey, 'operators'],
    ...onCallKeys.map(({ name, publicKey }) => [publicKey, name] as const),
  ]);
}

/** Verifies and parses; whether it may hold now is what `admitOverrides` says. `keys` as `overrideKeys` gives them. */
export async function openOverrides(
  signed: string,
  keys: ReadonlyMap<string, string>,
): Promise<Result<SignedOverrides, OverridesFault>> {
  const compact = signed.trim();
  if (compact.length > SIGNED_OVERRIDES_BYTES_MAX) {
    return refuse('too_large', `${compact.length} bytes; at most ${SIGNED_OVERRIDES_BYTES_MAX} are read`);
  }
  let payload: unknown;
  let publicKey: string;
  try {
    publicKey = decodeProtectedHeader(compact).kid ?? '';
    if (!keys.has(publicKey)) throw new Error('its key is not listed in the manifest');
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: publicKey }, 'EdDSA');
    const opened = await compactVerify(compact, key, { algorithms: ['EdDSA'] });
    if (opened.protectedHeader.typ !== TYPE) throw new Error(`its type is not ${TYPE}`);
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(opened.payload));
  } catch (error) {
    return refuse('not_signed', `not signed by a key that may (${describeError(error)})`);
  }
  const document = parseOverrides(payload);
  return document.ok
    ? ok({ document: document.value, signed: compact, publicKey })
    : fail({ reason: 'invalid', details: document.fault });
}

/** Checks every field; gives all faults at once. */
export function parseOverrides(value: unknown): Result<OverridesDocument, readonly string[]> {
  const faults: string[] = [];
  const at = new JsonReader(value, 'overrides', faults);
  if (at.number('format', 1, 1) !== 1) return fail(faults);
  const document: OverridesDocument = {
    format: 1,
    sequence: at.number('sequence', 1, Number.MAX_SAFE_INTEGER),
    overrides: readOverrides(at.child('overrides')),
  };
  at.onlyTheseKeys();
  const named = document.overrides.sites.map(({ site }) => site);
  const twice = named.filter((name, index) => named.indexOf(name) !== index);
  faults.push(...twice.map((name) => `overrides.sites: ${JSON.stringify(name)} is listed twice`));
  return faults.length === 0 ? ok(document) : fail(faults);
}

/**
 * Whether these overrides may hold beside the manifest in force at `wallMs`, milliseconds since 1970. `held` is the
 * sequence of those that hold now, 0 for none.
 */
export function admitOverrides(
  { sequence, overrides }: OverridesDocument,
  manifest: Manifest,
  { held, wallMs }: { readonly held: number; readonly wallMs: number },
): Result<void, OverridesFault> {
  if (sequence <= held) return refuse('not_newer', `sequence ${sequence} is not above ${held}`);
  if (sequence > wallMs + CLOCK_SKEW_MS_MAX) {
    return refuse('from_the_future', 'signed in the future by this clock; check the clock of who signed');
  }
  if (endsOf(overrides).some((endMs) => endMs > sequence + OVERRIDE_MS_MAX)) {
    return refuse('too_long', 'every entry has to end within 24 hours of the signing');
  }
  const unknown = overrides.sites.filter(({ site }) => !manifest.sites.some(({ name }) => name === site));
  if (unknown.length > 0) {
    const names = unknown.map(({ site }) => JSON.stringify(site)).join(', ');
    return refuse('site_unknown', `the manifest in force has no site ${names}`);
  }
  return drainsEverything(withOverrides(manifest, overrides), wallMs)
    ? refuse('drains_everything', "with the manifest's own overrides no site would be left")
    : ok(undefined);
}

/**
 * The manifest with these overrides before its own: the first entry that has not ended counts (`overrideOf`). Entries
 * of sites that it does not have fall away. Of two freezes the longer holds.
 */
export function withOverrides(manifest: Manifest, { sites, frozenUntilWallMs }: Overrides): Manifest {
  const known = sites.filter(({ site }) => manifest.sites.some(({ name }) => name === site));
  if (known.length === 0 && frozenUntilWallMs === null) return manifest;
  const own = manifest.overrides;
  const freezes = [own.frozenUntilWallMs, frozenUntilWallMs].filter((end) => end !== null);
  return {
    ...manifest,
    overrides: {
      sites: [...known, ...own.sites],
      frozenUntilWallMs: freezes.length === 0 ? null : Math.max(...freezes),
    },
  };
}

/** The override of a site that holds at `wallMs`, milliseconds since 1970. */
export function overrideOf(
  site: SiteName,
  { overrides }: Pick<Manifest, 'overrides'>,
  wallMs: number,
): Overrides['sites'][number] | undefined {
  return overrides.sites.find((override) => override.site === site && wallMs < override.untilWallMs);
}

/** Whether at `wallMs`, or when an entry ends after that, every site is draining or drained. */
export function drainsEverything(
  { sites, overrides }: Pick<Manifest, 'sites' | 'overrides'>,
  wallMs: number,
): boolean {
  const moments = [wallMs, ...endsOf(overrides).filter((endMs) => endMs > wallMs)];
  return moments.some((atMs) =>
    sites.every(({ name }) => (overrideOf(name, { overrides }, atMs)?.state ?? 'serving') !== 'serving'),
  );
}

function endsOf({ sites, frozenUntilWallMs }: Overrides): readonly number[] {
  const ends = sites.map(({ untilWallMs }) => untilWallMs);
  return frozenUntilWallMs === null ? ends : [...ends, frozenUntilWallMs];
}

function refuse(reason: OverridesFault['reason'], detail: string): Result<never, OverridesFault> {
  return fail({ reason, details: [`overrides: ${detail}`] });
}
