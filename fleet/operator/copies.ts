/**
 * Whether the fleet has all its copies, as the relays say to the vantage of their site. One site at a time may be away: while
 * another one is refilled or is owed something, to take a site out of service could put messages out of reach.
 */
import type { WholeStatus } from '../../healthcheck/status.ts';
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { ok } from '../../system/result.ts';
import { type Outcome, refused } from '../commands/command.ts';
import type { SiteName } from '../manifest/manifest.ts';
import { statusAt } from './holding.ts';
import type { Nameserver } from './nameservers.ts';
import { SANITY_CHECKS } from './sanity.ts';

/** Sites that lack copies; a vantage that waits, or of an older release, does not say. */
export function lackingIn(status: WholeStatus | undefined): readonly SiteName[] {
  const relays: Partial<WholeStatus['relays']> | undefined = status?.relays;
  return relays?.lacking ?? [];
}

/**
 * Refuses while a site other than `leaving` lacks copies. A vantage that does not answer says nothing: a fleet that has lost
 * a provider must still obey. Never rejects.
 */
export async function copiesBesides(
  leaving: SiteName,
  nameservers: readonly Nameserver[],
  identity: PinnedIdentity,
): Promise<Outcome<void>> {
  const statuses = await Promise.all(nameservers.map(async (to) => await statusAt(to, identity)));
  const lacking = new Set(statuses.flatMap((status) => lackingIn(status)));
  lacking.delete(leaving);
  return lacking.size === 0
    ? ok(undefined)
    : refused(
        `copies_missing: ${[...lacking].toSorted().join(', ')}. ${SANITY_CHECKS.copies_missing}`,
        '`fleet status` says when. If you mean it, say --despite copies_missing.',
      );
}
