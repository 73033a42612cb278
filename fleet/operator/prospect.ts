/**
 * What DNS would answer under a manifest if every site were well: the answer that operators mean when they sign it.
 * Decided by the vantages' own core, so it cannot differ from what they would do.
 */
import { type Answer, answerWithAll, choose } from '../../healthcheck/core/failover.ts';
import { ordersOf } from '../../healthcheck/core/rotation.ts';
import { FAMILIES, type Family, keyOf, targetsOf } from '../../healthcheck/core/target.ts';
import type { Manifest, SiteName } from '../manifest/manifest.ts';

export interface ProspectedSite {
  readonly site: SiteName;
  readonly provider: string;
  readonly families: readonly Family[];
  /** How often it comes first, per cent, in the first of these families. */
  readonly firstPercent: number;
}

/** Who is in the answer at `wallMs`, milliseconds since 1970, in the manifest's order. */
export function prospectOf(manifest: Manifest, wallMs: number): readonly ProspectedSite[] {
  const answer = answerOf(manifest, wallMs);
  return manifest.sites.flatMap(({ name, provider, relay }) => {
    const families = FAMILIES.filter((family) => isGivenOut(manifest, answer, family, relay[family]));
    const [family = 'ipv4'] = families;
    const firstPercent = firstShare(ordersOf(manifest, answer, family, new Map()), relay[family]);
    return families.length === 0
      ? []
      : [{ site: name, provider, families, firstPercent: Math.round(firstPercent * 100) }];
  });
}

function answerOf(manifest: Manifest, wallMs: number): Answer {
  const previous = answerWithAll(manifest, 0);
  const { targets, failOpen } = choose({
    healths: new Map(targetsOf(manifest).map((target) => [keyOf(target), 'up'])),
    strained: new Set(),
    previous,
    nowMs: 0,
    wallMs,
    isolated: false,
    manifest,
  });
  return { ...previous, targets, failOpen };
}

function isGivenOut(
  manifest: Manifest,
  answer: Answer,
  family: Family,
  addresses: readonly string[],
): boolean {
  return ordersOf(manifest, answer, family, new Map()).some((order) =>
    order.some((address) => addresses.includes(address)),
  );
}

function firstShare(orders: readonly (readonly string[])[], addresses: readonly string[]): number {
  const first = orders.filter(([address = '']) => addresses.includes(address));
  return orders.length === 0 ? 0 : first.length / orders.length;
}
