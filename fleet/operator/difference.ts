/**
 * What would change if a manifest were signed, in words: first who is in the answer before and after, because that is
 * what clients feel, then every other difference.
 */
import { dsRecords, keyTagOf, zoneKeysExpireSeconds } from '../../healthcheck/dns/zone-keys.ts';
import type { Manifest, OnCallKey, Overrides, SiteEntry, VantageEntry } from '../manifest/manifest.ts';
import type { Draft } from './draft.ts';
import { type ProspectedSite, prospectOf } from './prospect.ts';
import { mintingId, type Ring } from './ring.ts';

export interface Difference {
  /** 0 when nothing was signed before. */
  readonly versionBefore: number;
  readonly versionAfter: number;
  /** While every site is well. */
  readonly answerBefore: readonly ProspectedSite[];
  readonly answerAfter: readonly ProspectedSite[];
  /** Sentences, none when only signatures are newer. */
  readonly changes: readonly string[];
  /** Until when the zone's keys are signed, milliseconds since 1970; null when the zone is not signed. */
  readonly zoneKeysUntilWallMs: number | null;
}

/** The ring that is about to be sealed, and the one that was. */
export interface RingChange {
  readonly before: Draft['signedRing'];
  readonly after: Ring;
}

/** Compares what is in force with what would be; `before` undefined: nothing was signed yet. */
export function differenceOf(
  before: Manifest | undefined,
  after: Manifest,
  ring: RingChange,
  wallMs: number,
): Difference {
  return {
    versionBefore: before?.version ?? 0,
    versionAfter: after.version,
    answerBefore: before === undefined ? [] : prospectOf(before, wallMs),
    answerAfter: prospectOf(after, wallMs),
    changes: [
      ...siteChanges(before?.sites ?? [], after.sites),
      ...witnessChanges(before, after),
      ...overrideChanges(before?.overrides, after.overrides),
      ...(before === undefined ? [] : policyChanges(before, after)),
      ...onCallChanges(before?.onCallKeys ?? [], after.onCallKeys ?? []),
      ...zoneKeyChanges(before, after),
      ...ringChanges(ring),
    ],
    zoneKeysUntilWallMs: after.zoneKeys === undefined ? null : zoneKeysExpireSeconds(after.zoneKeys) * 1000,
  };
}

/** The difference as lines for people. */
export function differenceText(zone: string, difference: Difference): readonly string[] {
  const { versionBefore, versionAfter, answerBefore, answerAfter, changes } = difference;
  const from = versionBefore === 0 ? 'nothing' : `version ${versionBefore}`;
  return [
    `${zone}: ${from} → version ${versionAfter}`,
    '',
    'While all sites are well, DNS answers',
    ...(versionBefore === 0 ? [] : [`  before: ${answerText(answerBefore)}`]),
    `  after:  ${answerText(answerAfter)}`,
    `  providers that remain: ${[...new Set(answerAfter.map(({ provider }) => provider))].join(', ') || 'none'}`,
    '',
    ...(changes.length === 0
      ? ['Nothing changes but the version and the signatures.']
      : ['What changes:', ...changes.map((change) => `  ${change}`)]),
    ...(difference.zoneKeysUntilWallMs === null
      ? []
      : [`The zone's keys are signed until ${new Date(difference.zoneKeysUntilWallMs).toISOString()}.`]),
  ];
}

function answerText(sites: readonly ProspectedSite[]): string {
  return (
    sites
      .map(({ site, firstPercent, families }) => {
        const only = families.length === 1 && families[0] === 'ipv6' ? ', IPv6 only' : '';
        return `${site} (first in ${firstPercent} %${only})`;
      })
      .join(', ') || 'nothing'
  );
}

function siteChanges(before: readonly SiteEntry[], after: readonly SiteEntry[]): readonly string[] {
  const gone = before.filter(({ name }) => !after.some((site) => site.name === name));
  return [
    ...gone.map(({ name, provider }) => `site ${name} (${provider}) leaves, with its keys`),
    ...after.flatMap((site) => {
      const was = before.find(({ name }) => name === site.name);
      if (was === undefined) {
        return [
          `site ${site.name} (${site.provider}) is new: relays at ${addressesOf(site)}, nameserver at ${placeOf(site.vantage)}`,
        ];
      }
      return [
        ...changed(`site ${site.name}: provider (its relays begin anew)`, was.provider, site.provider),
        ...changed(`site ${site.name}: weight`, was.weight, site.weight),
        ...changed(`site ${site.name}: relays at`, addressesOf(was), addressesOf(site)),
        ...changed(`site ${site.name}: DNS port`, was.vantage.dnsPort, site.vantage.dnsPort),
        ...listChanges(`site ${site.name}: pin of a peer key`, was.relay.pins, site.relay.pins),
        ...vantageChanges(`site ${site.name}`, was.vantage, site.vantage),
      ];
    }),
  ];
}

function vantageChanges(name: string, was: VantageEntry, now: VantageEntry): readonly string[] {
  return [
    ...changed(`${name}: nameserver at`, placeOf(was), placeOf(now)),
    ...changed(`${name}: key that signs votes`, was.voteKey, now.voteKey),
    ...changed(`${name}: token for canaries`, shortHash(was), shortHash(now)),
    ...listChanges(`${name}: pin of a vantage key`, was.pins, now.pins),
  ];
}

function witnessChanges(before: Manifest | undefined, after: Manifest): readonly string[] {
  const old = before?.witnesses ?? [];
  const gone = old.filter(({ name }) => !after.witnesses.some((witness) => witness.name === name));
  return [
    ...gone.map(({ name }) => `witness ${name} leaves`),
    ...after.witnesses.flatMap((witness) => {
      const was = old.find(({ name }) => name === witness.name);
      return was === undefined
        ? [`witness ${witness.name} (${witness.provider}) is new, at ${placeOf(witness.vantage)}`]
        : [
            ...changed(`witness ${witness.name}: provider`, was.provider, witness.provider),
            ...vantageChanges(`witness ${witness.name}`, was.vantage, witness.vantage),
          ];
    }),
  ];
}

function overrideChanges(before: Overrides | undefined, after: Overrides): readonly string[] {
  const textOf = (overrides: Overrides | undefined, site: string): string => {
    const found = overrides?.sites.find((override) => override.site === site);
    return found === undefined ? 'none' : `${found.state} until ${dateOf(found.untilWallMs)}`;
  };
  const named = new Set([...(before?.sites ?? []), ...after.sites].map(({ site }) => site));
  const frozen = (overrides: Overrides | undefined): string => {
    const until = overrides?.frozenUntilWallMs ?? null;
    return until === null ? 'no' : `until ${dateOf(until)}`;
  };
  return [
    ...[...named].flatMap((site) =>
      changed(`override of ${site}`, textOf(before, site), textOf(after, site)),
    ),
    ...changed('frozen', frozen(before), frozen(after)),
  ];
}

function policyChanges(before: Manifest, after: Manifest): readonly string[] {
  const policy = Object.keys(after.health) as (keyof Manifest['health'])[];
  return [
    ...changed('zone (all relays begin anew)', before.zone, after.zone),
    ...changed('port of the relays (all begin anew)', before.port, after.port),
    ...changed('steering', before.steering, after.steering),
    ...policy.flatMap((field) => changed(`health.${field}`, before.health[field], after.health[field])),
    ...listChanges('record', recordTexts(before), recordTexts(after)),
    ...listChanges('external canary', canaryTexts(before), canaryTexts(after)),
  ];
}

function recordTexts({ zone, records = [] }: Manifest): readonly string[] {
  return records.flatMap(({ name, type, ttlSeconds, data }) =>
    data.map((text) => `${name === '' ? zone : `${name}.${zone}`} ${ttlSeconds} ${type} ${text}`),
  );
}

function canaryTexts({ externalCanaries }: Manifest): readonly string[] {
  return externalCanaries.map(({ name, address, port }) => `${name} at ${address} port ${port}`);
}

function onCallChanges(before: readonly OnCallKey[], after: readonly OnCallKey[]): readonly string[] {
  const textOf = ({ name, publicKey }: OnCallKey): string => `${name} (${publicKey.slice(0, 8)}…)`;
  return listChanges('key of somebody on call', before.map(textOf), after.map(textOf));
}

function zoneKeyChanges(before: Manifest | undefined, after: Manifest): readonly string[] {
  const textsOf = ({ zoneKeys }: Manifest): readonly string[] =>
    (zoneKeys?.keys ?? []).map(
      (key) => `${key.site ?? 'the operators'}, key tag ${keyTagOf(key)} (${key.publicKey.slice(0, 8)}…)`,
    );
  const ds = ({ zone, zoneKeys }: Manifest): string =>
    zoneKeys === undefined ? '' : dsRecords(zone, zoneKeys).join();
  return [
    ...listChanges('zone key of', before === undefined ? [] : textsOf(before), textsOf(after)),
    ...(before !== undefined && ds(before) !== ds(after)
      ? ['the DS records change: `fleet delegation` prints them, and docs/fleet.md the order']
      : []),
  ];
}

function ringChanges({ before, after }: RingChange): readonly string[] {
  const ids = after.capabilityKeys.map(({ id }) => id);
  return [
    ...listChanges('ring key', before?.ids ?? [], ids),
    ...(before === null ? [] : changed('ring key that mints', before.minting, mintingId(after))),
  ];
}

function changed(what: string, before: string | number, after: string | number): readonly string[] {
  return before === after ? [] : [`${what}: ${before} → ${after}`];
}

function listChanges(what: string, before: readonly string[], after: readonly string[]): readonly string[] {
  return [
    ...before.filter((one) => !after.includes(one)).map((one) => `${what} ${one}: gone`),
    ...after.filter((one) => !before.includes(one)).map((one) => `${what} ${one}: new`),
  ];
}

function shortHash({ operatorTokenHash }: VantageEntry): string {
  return operatorTokenHash === undefined ? 'none' : `${operatorTokenHash.slice(0, 8)}…`;
}

function addressesOf({ relay }: SiteEntry): string {
  return [...relay.ipv4, ...relay.ipv6].join(' ');
}

function placeOf({ ipv4, ipv6, votePort }: VantageEntry): string {
  const addresses = [ipv4, ipv6].filter((address) => address !== null).join(' ');
  return `${addresses}${votePort === 443 ? '' : ` port ${votePort}`}`;
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
