/**
 * Taking things from another site by their names: what verifies is stored here, and what does not is counted.
 */
import type { Clock } from '../../system/clock.ts';
import type { SignedAck } from '../core/ack.ts';
import { openForeignMessage } from '../core/message.ts';
import type { Asked } from '../core/reference.ts';
import { openForeignTombstone } from '../core/tombstone.ts';
import type { RelayEvents } from '../events.ts';
import { assertWritten, type MessageStore, type PeerLink, PeerUnreachable } from '../ports.ts';

export interface PullingDeps {
  readonly store: MessageStore;
  readonly clock: Clock;
  /**
   * The wall clock by which nothing counts as expired too early, Unix milliseconds: behind the own one when others say that
   * it is ahead. A site that refills while its clock is minutes ahead would take for expired what others still have.
   */
  readonly expiryWallMs: () => number;
  readonly events: RelayEvents;
  readonly pepper: Uint8Array;
}

const CALL_TIMEOUT_MS = 5000;
const PULL_MAX = 256;

/**
 * Pulls what `references` name and stores it; gives how much came. What the other site does not have is left out.
 * Rejects with `PeerUnreachable` or `StoreUnavailable` when it could not be done to the end.
 */
export async function pullFrom(
  link: PeerLink,
  references: readonly Asked[],
  deps: PullingDeps,
  timeoutMs: number = CALL_TIMEOUT_MS,
): Promise<number> {
  let taken = 0;
  for (let from = 0; from < references.length; ) {
    const some = references.slice(from, from + PULL_MAX);
    const reply = await link.call({ type: 'pull', references: some }, timeoutMs);
    if (reply.type !== 'records') throw new PeerUnreachable(`pull was answered by ${reply.type}`);
    taken += await store(reply.messages, reply.acks, some, deps);
    from += Math.max(1, reply.served);
  }
  return taken;
}

async function store(
  messages: readonly Uint8Array[],
  acks: readonly Uint8Array[],
  asked: readonly Asked[],
  deps: PullingDeps,
): Promise<number> {
  // The site that has a tombstone longest decides, so that all come to remember it equally long.
  const untilMs = new Map(asked.map(({ kind, id, untilMs: until = 0 }) => [`${kind} ${id}`, until]));
  const tombstones = openForeignAcks(acks, deps, (id) => untilMs.get(`ack ${id}`) ?? 0);
  const opened = messages.map((record) => openForeignMessage(record, deps.clock.wallMs()));
  for (const result of opened) if (!result.ok) deps.events.unbelieved(result.fault);
  // Acks first, so that a message they name is not stored at all. Third parties compare for themselves.
  const burials = tombstones.map((ack) => ({ ack, owedTo: [] }));
  assertWritten(await deps.store.bury(burials, deps.clock.wallMs()));
  const insertions = opened.flatMap((result) => (result.ok ? [{ message: result.value, owedTo: [] }] : []));
  assertWritten(await deps.store.insert(insertions, deps.expiryWallMs()));
  return tombstones.length + insertions.length;
}

/** The tombstones among the records of another site that verify; the others are counted. See `openForeignTombstone`. */
export function openForeignAcks(
  records: readonly Uint8Array[],
  { pepper, clock, events }: Pick<PullingDeps, 'pepper' | 'clock' | 'events'>,
  rememberedUntilMs?: (id: string) => number,
): readonly SignedAck[] {
  return records.flatMap((record) => {
    const opened = openForeignTombstone(record, pepper, clock.wallMs(), rememberedUntilMs);
    if (opened.ok) return [opened.value];
    events.unbelieved(opened.fault);
    return [];
  });
}
