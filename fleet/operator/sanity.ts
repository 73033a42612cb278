/**
 * What is looked at before a manifest is signed, beside its form: mistakes that would be well-formed. Each has a name,
 * and an operator who means it says so (`--despite NAME`). None can be switched off for good.
 */

import type { Manifest } from '../manifest/manifest.ts';
import { drainsEverything } from '../manifest/overrides.ts';
import { prospectOf } from './prospect.ts';

export const SANITY_CHECKS = {
  zone_changed:
    'Another zone or port is another fleet: every push URL names the old one, and all relays would begin anew at once.',
  drains_everything: 'At some moment every site would be draining or drained, and one has to be left.',
  one_provider: 'A message is accepted once two providers hold it; with one provider, none would be.',
  address_shared:
    'Two sites would be reached at one address: the one would stand in for the other unseen, and no failover would help.',
  providers_leave: 'More than one provider would leave the answer at once; change one, look, then the next.',
  nameservers_replaced: 'No nameserver would keep its address, and resolvers know only the old ones.',
  address_moved: 'A nameserver would move to another address: its glue at the registrar has to move with it.',
  zone_key_moved:
    'A site would lose the zone key that it signs with; resolvers have to know the new one first.',
  copies_missing:
    'With this site away too, what another site lacks could be out of reach: wait until it has caught up.',
} as const;
type SanityCheck = keyof typeof SANITY_CHECKS;

/** A check that failed, and on what. */
export interface SanityFault {
  readonly check: SanityCheck;
  /** A sentence. */
  readonly detail: string;
}

/** Looks at what would be signed after `before`; undefined when it is the first. `wallMs`: milliseconds since 1970. */
export function sanityFaults(
  before: Manifest | undefined,
  after: Manifest,
  wallMs: number,
): readonly SanityFault[] {
  const found: SanityFault[] = [];
  const add = (check: SanityCheck, detail: string): void =>
    void found.push({ check, detail: `${detail} ${SANITY_CHECKS[check]}` });
  if (drainsEverything(after, wallMs)) add('drains_everything', 'Overrides:');
  const providers = new Set(after.sites.map(({ provider }) => provider));
  if (providers.size < 2) add('one_provider', `Only ${[...providers].join()} is left.`);
  const relays = after.sites.flatMap(({ relay }) => [...relay.ipv4, ...relay.ipv6]);
  const shared = relays.filter((address, index) => relays.indexOf(address) !== index);
  for (const address of new Set(shared)) add('address_shared', `${address}.`);
  if (before === undefined) return found;
  if (before.zone !== after.zone || before.port !== after.port) {
    add('zone_changed', `${before.zone}:${before.port} becomes ${after.zone}:${after.port}.`);
  }
  const left = providersIn(before, wallMs).filter((name) => !providersIn(after, wallMs).includes(name));
  if (left.length > 1) add('providers_leave', `${left.join(' and ')} leave.`);
  const kept = before.sites.flatMap(({ name, vantage }) => {
    const now = after.sites.find((site) => site.name === name)?.vantage;
    return now === undefined ? [] : [{ name, was: vantage, now }];
  });
  const moved = kept.filter(({ was, now }) => was.ipv4 !== now.ipv4 || was.ipv6 !== now.ipv6);
  if (moved.length === kept.length) {
    add('nameservers_replaced', `${before.sites.map(({ name }) => name).join(', ')}.`);
  }
  for (const { name } of moved) add('address_moved', `${name}.`);
  for (const { name } of kept) {
    const keysOf = ({ zoneKeys }: Manifest): readonly string[] =>
      (zoneKeys?.keys ?? []).filter(({ site }) => site === name).map(({ publicKey }) => publicKey);
    if (keysOf(before).length > 0 && !keysOf(before).some((key) => keysOf(after).includes(key))) {
      add('zone_key_moved', `${name}.`);
    }
  }
  return found;
}

function providersIn(manifest: Manifest, wallMs: number): readonly string[] {
  return [...new Set(prospectOf(manifest, wallMs).map(({ provider }) => provider))];
}
