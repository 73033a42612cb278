/**
 * Drains the outbox: offers to each reachable site what this site owes it, until the site says that it has it.
 *
 * Entries younger than the grace are left alone, because the write path is usually still settling them. Any relay
 * of the site may drain at the same time as another: every step is idempotent.
 */
import type { SiteName } from '../../fleet/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError, type Log } from '../../system/log.ts';
import type { OfferedRecord } from '../core/peer-frame.ts';
import type { RelayEvents } from '../events.ts';
import { type MessageStore, type PeerLink, PeerUnreachable, type Reference } from '../ports.ts';

export interface OutboxConfig {
  readonly own: SiteName;
  /** Age at which an entry is taken for forgotten by the write path, milliseconds. */
  readonly graceMs: number;
  readonly intervalMs: number;
}

export interface OutboxDeps {
  readonly store: MessageStore;
  readonly clock: Clock;
  readonly events: RelayEvents;
  readonly log: Log;
}

const PAGE = 128;
const CALL_TIMEOUT_MS = 5000;

/** Drains towards one site until `stopped`; never rejects before. */
export async function drainOutbox(
  link: PeerLink,
  config: OutboxConfig,
  deps: OutboxDeps,
  stopped: AbortSignal,
): Promise<void> {
  while (!stopped.aborted) {
    try {
      const full = link.isUp() && (await drainPage(link, config, deps));
      if (!full) await deps.clock.sleep(config.intervalMs, stopped);
    } catch (error) {
      if (stopped.aborted) return;
      deps.log.debug('outbox paused', { site: link.site, reason: describeError(error) });
      await deps.clock.sleep(config.intervalMs, stopped).catch(() => undefined);
    }
  }
}

/** Offers one page; true when it got rid of something, so that there may be more. */
async function drainPage(link: PeerLink, config: OutboxConfig, deps: OutboxDeps): Promise<boolean> {
  const { store, clock } = deps;
  const references = await store.owed(link.site, clock.wallMs() - config.graceMs, PAGE);
  if (references.length === 0) return false;
  const messages: OfferedRecord[] = [];
  const messageReferences: Reference[] = [];
  const acks: OfferedRecord[] = [];
  const settled: Reference[] = [];
  for (const [index, found] of (await store.load(references)).entries()) {
    const reference = references[index];
    if (reference === undefined) continue;
    const holders = [config.own];
    if (found === undefined) settled.push(reference);
    else if ('body' in found) {
      messages.push({ record: found.record, holders });
      messageReferences.push(reference);
    } else {
      acks.push({ record: found.record, holders });
      settled.push(reference);
    }
  }
  // Acks first: a message that its recipient has need not travel. Entries of acks go once they are confirmed.
  if (acks.length > 0) {
    const reply = await link.call({ type: 'bury', records: acks }, CALL_TIMEOUT_MS);
    if (reply.type !== 'done') throw new PeerUnreachable(`bury was answered by ${reply.type}`);
  }
  if (messages.length > 0) {
    const reply = await link.call({ type: 'put', records: messages }, CALL_TIMEOUT_MS);
    if (reply.type !== 'outcomes') throw new PeerUnreachable(`put was answered by ${reply.type}`);
    for (const [index, outcome] of reply.outcomes.entries()) {
      const reference = messageReferences[index];
      if (reference !== undefined && outcome !== 'damaged') settled.push(reference);
    }
  }
  await store.settle(settled.map((reference) => ({ site: link.site, reference })));
  deps.events.drained(link.site, settled.length);
  return settled.length > 0;
}
