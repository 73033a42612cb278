/**
 * Writes for several mailboxes, cut by partition. A site whose store is spread over several Redis may be without some of its
 * partitions, and what goes to those must not fail what goes to others. Nothing is lost by the cutting: the store takes
 * together what is asked of it in one turn of the event loop.
 */
import { type MailboxTag, partitionOf } from '../core/mailbox.ts';
import { StoreUnavailable } from '../ports.ts';

/**
 * Gives for each item, in order, what `run` answered for it, or the `StoreUnavailable` of its partition. Rejects with any
 * other error that `run` rejects with.
 */
export async function inEachPartition<Item, Answer>(
  items: readonly Item[],
  mailboxOf: (item: Item) => MailboxTag,
  run: (some: readonly Item[]) => Promise<readonly Answer[]>,
): Promise<readonly (Answer | StoreUnavailable)[]> {
  const places = items.map((item, place) => ({ item, place }));
  const groups = [...Map.groupBy(places, ({ item }) => partitionOf(mailboxOf(item))).values()];
  const settled = await Promise.allSettled(groups.map((group) => run(group.map(({ item }) => item))));
  const answers: (Answer | StoreUnavailable)[] = [];
  for (const [index, result] of settled.entries()) {
    if (result.status === 'rejected' && !(result.reason instanceof StoreUnavailable)) throw result.reason;
    for (const [nth, { place }] of (groups[index] ?? []).entries()) {
      const answer = result.status === 'fulfilled' ? result.value[nth] : (result.reason as StoreUnavailable);
      answers[place] = answer ?? new StoreUnavailable('a write was answered in part');
    }
  }
  return answers;
}
