/**
 * When a recipient connects, the other sites are asked what waits in its mailbox, so that a message which has not got here
 * yet comes now and not with the next comparison. Nobody waits for it: what comes is stored, and storing wakes the
 * session. It has a small budget, and when too many recipients connect at once most of them do without.
 */
import type { Clock } from '../../system/clock.ts';
import type { MailboxTag } from '../core/mailbox.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import type { BuriedElsewhere } from './buried-elsewhere.ts';
import { type PullingDeps, pullFrom } from './pulling.ts';

export interface ReadRepairDeps extends PullingDeps {
  readonly links: readonly PeerLink[];
  readonly clock: Clock;
  readonly buriedElsewhere: BuriedElsewhere;
}

/** What an answer that comes later than this is good for, somebody else has already brought, milliseconds. */
const BUDGET_MS = 300;
/** Mailboxes looked for at the same time; the others are left to the comparison. */
const UNDER_WAY_MAX = 32;

/** Gives what looks for the mailboxes of a recipient that has just connected. It never throws. */
export function createReadRepair(deps: ReadRepairDeps): (mailboxes: readonly MailboxTag[]) => void {
  const { links, events, store } = deps;
  let underWay = 0;

  const lookAt = async (link: PeerLink, mailbox: MailboxTag): Promise<void> => {
    const page = await link.call({ type: 'waiting', mailbox }, BUDGET_MS);
    if (page.type !== 'page') throw new PeerUnreachable(`waiting was answered by ${page.type}`);
    const lacking = await store.missing(page.references);
    // Storing it wakes the session, so it is asked here whether others have buried it; the store then does not take it.
    await deps.buriedElsewhere(lacking);
    events.readRepaired(lacking.length === 0 ? 0 : await pullFrom(link, lacking, deps, BUDGET_MS));
  };
  const look = async (mailbox: MailboxTag): Promise<void> => {
    underWay += 1;
    const up = links.filter((link) => link.isUp());
    for (const { status } of await Promise.allSettled(up.map((link) => lookAt(link, mailbox)))) {
      if (status === 'rejected') events.readRepairLeft('failed');
    }
    underWay -= 1;
  };
  return (mailboxes) => {
    for (const mailbox of mailboxes) {
      if (underWay < UNDER_WAY_MAX) void look(mailbox);
      else events.readRepairLeft('skipped');
    }
  };
}
