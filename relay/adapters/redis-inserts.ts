/**
 * Inserting where something is stored under the same id already. Redis compares bytes and cannot tell whether what it
 * has is whole, and a damaged record is no copy: whoever counted it would say 201 for one copy too few. So what a
 * message is said to be a duplicate of is read before anybody is told, and is replaced when it is damaged.
 */
import type { SignedAck } from '../core/ack.ts';
import type { Message } from '../core/message.ts';
import { type InsertOutcome, type Reference, referenceTo } from '../core/reference.ts';
import type { Insertion, StoreUnavailable } from '../ports.ts';
import { insertGroup, type Timed, unavailable, type Writing } from './redis-writes.ts';

/** Reads records and forgets damaged ones; undefined for what is not whole, as `MessageStore.load`. */
type Load = (references: readonly Reference[]) => Promise<readonly (Message | SignedAck | undefined)[]>;

/** As `insertGroup`, and an outcome that speaks of an earlier record says that this record is whole. */
export async function insertBeside(
  writing: Writing,
  items: readonly (Insertion & Timed)[],
  load: Load,
): Promise<readonly (InsertOutcome | StoreUnavailable)[]> {
  const outcomes = [...(await insertGroup(writing, items))];
  const beside = items.flatMap((item, place) =>
    outcomes[place] === 'duplicate' || outcomes[place] === 'other_kept' ? [{ item, place }] : [],
  );
  if (beside.length === 0) return outcomes;
  const references = beside.map(({ item: { message } }) => referenceTo(message));
  try {
    const found = await load(references);
    const again = beside.filter((_, nth) => found[nth] === undefined);
    const repeated =
      again.length === 0
        ? []
        : await insertGroup(
            writing,
            again.map(({ item }) => item),
          );
    for (const [nth, { place }] of again.entries()) {
      outcomes[place] = repeated[nth] ?? unavailable(new Error('no outcome'));
    }
  } catch (error) {
    for (const { place } of beside) {
      outcomes[place] = unavailable(error instanceof Error ? error : new Error(String(error)));
    }
  }
  return outcomes;
}
