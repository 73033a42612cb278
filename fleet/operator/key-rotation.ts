/**
 * How each kind of key is replaced, step by step. A step changes the draft or the vault, is signed and handed out like
 * any other change, and says what comes next and how long to wait; no step breaks what works.
 */
import { createPrivateKey } from 'node:crypto';
import { keyTagOf, publicKeyText } from '../../healthcheck/dns/zone-keys.ts';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { SiteName } from '../manifest/manifest.ts';
import { makeZoneKey } from '../zone-keys.ts';
import type { OperatorDirectory } from './directory.ts';
import type { Draft } from './draft.ts';
import { makeOnCallKey, onCallPath } from './new-fleet.ts';
import { mintingWith, withNewKey, withoutKey } from './ring.ts';
import { siteFilePath } from './site-keys.ts';
import { makeManifestKey, type Vault, zoneKeyPem } from './vault.ts';
import {
  MANIFEST_FILE,
  NEXT_MANIFEST_FILE,
  NEXT_OPERATORS_KEY_FILE,
  OPERATORS_KEY_FILE,
} from './workspace.ts';

export interface Keys {
  readonly draft: Draft;
  readonly vault: Vault;
}

export interface Step extends Keys {
  /** Files that change beside the draft and the vault. */
  readonly files: ReadonlyMap<string, string | null>;
  /** What was done and what comes next, for people. */
  readonly lines: readonly string[];
}

const THEN = 'Next: fleet sign, fleet push --wait 60.';
const NO_FILES: ReadonlyMap<string, string | null> = new Map();

/** The capability ring gets a new key, which only opens. */
export function newRingKey({ draft, vault }: Keys, random: Random): Result<Step, string> {
  const added = withNewKey(vault.ring, random);
  if (!added.ok) return added;
  const { ring, id } = added.value;
  return ok({
    draft,
    vault: { ...vault, ring },
    files: NO_FILES,
    lines: [
      `Ring key ${id} is new; it opens and does not mint yet.`,
      THEN,
      `When every relay holds that version: fleet keys rotate ring ${id} --mint.`,
    ],
  });
}

/** Lets a ring key mint that every relay has. */
export function mintWithRingKey({ draft, vault }: Keys, id: string): Result<Step, string> {
  const ring = mintingWith(vault.ring, id);
  if (!ring.ok) return ring;
  if (draft.signedRing?.ids.includes(id) !== true) {
    return fail(
      `Ring key ${id} is in no signed manifest yet: sign and push first, so that every relay opens it before one mints with it.`,
    );
  }
  return ok({
    draft,
    vault: { ...vault, ring: ring.value },
    files: NO_FILES,
    lines: [
      `Ring key ${id} mints, once this is signed. Push URLs do not expire, so old keys stay until clients have made new ones.`,
      THEN,
    ],
  });
}

/** Takes a ring key away that mints no more. */
export function retireRingKey({ draft, vault }: Keys, id: string): Result<Step, string> {
  const ring = withoutKey(vault.ring, id);
  if (!ring.ok) return ring;
  return ok({
    draft,
    vault: { ...vault, ring: ring.value },
    files: NO_FILES,
    lines: [
      `Ring key ${id} opens nothing any more, once this is signed: its push URLs are answered 503 for ever.`,
      THEN,
    ],
  });
}

/** The zone-signing key of a site. `retire`: the old one leaves the set. `atOnce`: it may be known to others. */
export function turnZoneKey(
  { draft, vault }: Keys,
  site: SiteName,
  { retire, atOnce }: { readonly retire: boolean; readonly atOnce: boolean },
): Result<Step, string> {
  const own = draft.zoneKeys.filter((key) => key.site === site);
  const others = draft.zoneKeys.filter((key) => key.site !== site);
  if (!draft.manifest.sites.some(({ name }) => name === site)) {
    return fail(
      `There is no site ${JSON.stringify(site)}; there are ${draft.manifest.sites.map(({ name }) => name).join(', ')}.`,
    );
  }
  if (retire) {
    const newest = own.at(-1);
    if (own.length < 2 || newest === undefined)
      return fail(`${site} has one zone key; there is none to retire.`);
    return ok({
      draft: { ...draft, zoneKeys: [...others, newest] },
      vault,
      files: NO_FILES,
      lines: [`The old zone key of ${site} leaves the set, once this is signed.`, THEN],
    });
  }
  if (own.length > 1 && !atOnce)
    return fail(`${site} has two zone keys: retire the old one first (--retire).`);
  const key = makeZoneKey();
  const entry = { site, publicKey: publicKeyText(key) ?? '' };
  const path = siteFilePath(site, 'nameserver', 'zone-key');
  return ok({
    draft: { ...draft, zoneKeys: [...others, ...(atOnce ? [] : own), entry] },
    vault,
    files: new Map([[path, zoneKeyPem(key)]]),
    lines: [
      `${site} has a new zone key, key tag ${keyTagOf(entry)}, in ${path}.`,
      ...(atOnce
        ? [
            'The old one leaves the set at once: sign with --despite zone_key_moved, push, and replace the nameserver now.',
            'Resolvers that cached the old set fail at this one nameserver for an hour at most, and ask the others.',
          ]
        : [THEN, 'Wait an hour, the TTL of the set.']),
      `Then, in the directory of the Pulumi program: pulumi config set --secret --path archipelago:secrets.${site}.nameserver.zone-key <${path}, and pulumi up.`,
      ...(atOnce ? [] : [`An hour after that: fleet keys rotate zone-key ${site} --retire.`]),
    ],
  });
}

/** The operators' zone key, which the registrar's DS record names. */
export function turnOperatorsZoneKey(
  { draft, vault }: Keys,
  { retire }: { readonly retire: boolean },
): Result<Step, string> {
  const newest = vault.zoneKeys.at(-1);
  if (retire) {
    if (vault.zoneKeys.length < 2 || newest === undefined)
      return fail('There is one key-signing key; there is none to retire.');
    return ok({
      draft,
      vault: { ...vault, zoneKeys: [newest] },
      files: NO_FILES,
      lines: ['The old key-signing key leaves the set, once this is signed.', THEN],
    });
  }
  if (vault.zoneKeys.length > 1)
    return fail('There are two key-signing keys already: retire the old one first (--retire).');
  const key = makeZoneKey();
  return ok({
    draft,
    vault: { ...vault, zoneKeys: [...vault.zoneKeys, zoneKeyPem(key)] },
    files: NO_FILES,
    lines: [
      `There is a second key-signing key, key tag ${operatorsKeyTag(zoneKeyPem(key))}; both sign the set.`,
      THEN,
      'Wait an hour, the TTL of the set. Then put the DS record of the new key in place of the old one at the registrar (fleet delegation prints both).',
      'When every nameserver of the parent has it and the TTL of the old DS has passed: fleet keys rotate ksk --retire.',
    ],
  });
}

/**
 * The operators' own key. It is in the boot configuration of every machine, so while machines are replaced site by site
 * each manifest is signed with both keys, and each node takes the one that it believes.
 */
export function turnManifestKey(
  { draft, vault }: Keys,
  { retire }: { readonly retire: boolean },
  directory: Pick<OperatorDirectory, 'read'>,
): Result<Step, string> {
  const { nextManifestKey: next, ...rest } = vault;
  if (retire) {
    const signed = directory.read(NEXT_MANIFEST_FILE);
    if (next === undefined || signed === undefined) {
      return fail('No manifest is signed with a second key of the operators yet; there is none to retire.');
    }
    return ok({
      draft,
      vault: { ...rest, manifestKey: next },
      files: new Map([
        [OPERATORS_KEY_FILE, `${next.x}\n`],
        [MANIFEST_FILE, signed],
        [NEXT_OPERATORS_KEY_FILE, null],
        [NEXT_MANIFEST_FILE, null],
      ]),
      lines: ['The old key of the operators signs nothing any more. Destroy old copies of the vault.'],
    });
  }
  if (next !== undefined)
    return fail('There are two keys of the operators already: retire the old one first (--retire).');
  const key = makeManifestKey();
  return ok({
    draft,
    vault: { ...vault, nextManifestKey: key },
    files: new Map([[NEXT_OPERATORS_KEY_FILE, `${key.x}\n`]]),
    lines: [
      `The operators have a second key, ${key.x}. Every manifest is signed with both from now on.`,
      THEN,
      `Then in one stack after the other: pulumi config set archipelago:manifestKey ${key.x}, pulumi up, fleet push --wait 300.`,
      'When no machine is left that was made with the old one: fleet keys rotate operators --retire.',
    ],
  });
}

/** A key for one more person on call, or for one who lost theirs. */
export function addOnCall({ draft, vault }: Keys, name: string): Step {
  const { entry, text } = makeOnCallKey(name);
  const others = (draft.manifest.onCallKeys ?? []).filter((key) => key.name !== name);
  return {
    draft: { ...draft, manifest: { ...draft.manifest, onCallKeys: [...others, entry] } },
    vault,
    files: new Map([[onCallPath(name), text]]),
    lines: [`Give ${onCallPath(name)} to ${name}, and to nobody else. It works once this is signed.`, THEN],
  };
}

/** Takes somebody's key away; what they signed ends with it. */
export function removeOnCall({ draft, vault }: Keys, name: string): Result<Step, string> {
  const { onCallKeys = [] } = draft.manifest;
  if (!onCallKeys.some((key) => key.name === name)) {
    return fail(
      `Nobody on call is ${JSON.stringify(name)}; there are ${onCallKeys.map((key) => key.name).join(', ') || 'none'}.`,
    );
  }
  return ok({
    draft: {
      ...draft,
      manifest: { ...draft.manifest, onCallKeys: onCallKeys.filter((key) => key.name !== name) },
    },
    vault,
    files: new Map([[onCallPath(name), null]]),
    lines: [`${name} signs nothing any more, once this is signed; overrides of theirs end with that.`, THEN],
  });
}

/** What is told of one key; nothing in it is secret. */
export type ListedKey =
  | { readonly key: 'operators' | 'operators-next'; readonly publicKey: string }
  | { readonly key: 'key-signing'; readonly keyTag: number }
  | { readonly key: 'zone'; readonly site: SiteName | null; readonly keyTag: number }
  | { readonly key: 'ring'; readonly id: string; readonly mints: boolean; readonly isSigned: boolean }
  | { readonly key: 'on-call'; readonly name: string; readonly publicKey: string };

/** All keys. */
export function listKeys({ draft, vault }: Keys): readonly ListedKey[] {
  const next = vault.nextManifestKey;
  return [
    { key: 'operators', publicKey: vault.manifestKey.x },
    ...(next === undefined ? [] : [{ key: 'operators-next', publicKey: next.x } as const]),
    ...vault.zoneKeys.map((pem) => ({ key: 'key-signing', keyTag: operatorsKeyTag(pem) }) as const),
    ...draft.zoneKeys.map((key) => ({ key: 'zone', site: key.site, keyTag: keyTagOf(key) }) as const),
    ...vault.ring.capabilityKeys.map(({ id, mint }) => {
      const isSigned = draft.signedRing?.ids.includes(id) === true;
      return { key: 'ring', id, mints: mint === true, isSigned } as const;
    }),
    ...(draft.manifest.onCallKeys ?? []).map((one) => ({ key: 'on-call', ...one }) as const),
  ];
}

/** A line for people. */
export function keyText(listed: ListedKey): string {
  switch (listed.key) {
    case 'operators':
      return `operators: ${listed.publicKey}`;
    case 'operators-next':
      return `operators, the next: ${listed.publicKey}`;
    case 'key-signing':
      return `key-signing key: key tag ${listed.keyTag}`;
    case 'zone':
      return `zone key of ${listed.site}: key tag ${listed.keyTag}`;
    case 'ring':
      return `ring key ${listed.id}:${listed.mints ? ' mints,' : ''} opens${listed.isSigned ? '' : ', not signed yet'}`;
    case 'on-call':
      return `on call: ${listed.name}, ${listed.publicKey}`;
  }
}

function operatorsKeyTag(pem: string): number {
  return keyTagOf({ site: null, publicKey: publicKeyText(createPrivateKey(pem)) ?? '' });
}
