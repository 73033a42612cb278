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
import type { Reference } from '../core/reference.ts';
import type { RelayEvents } from '../events.ts';
import { type MessageStore, type PeerLink, PeerUnreachable } from '../ports.ts';

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
/** A frame ends before the record that would pass this; one record alone may be larger. */
const FRAME_RECORDS_BYTES: number = 1024 * 1024;

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
  const messages: Owed[] = [];
  const acks: Owed[] = [];
  const gone: Reference[] = [];
  for (const [index, found] of (await store.load(references)).entries()) {
    const reference = references[index];
    if (reference === undefined) continue;
    if (found === undefined) gone.push(reference);
    else (reference.kind === 'message' ? messages : acks).push({ reference, record: found.record });
  }
  let settledCount = 0;
  const settle = async (settled: readonly Reference[]): Promise<void> => {
    await store.settle(settled.map((reference) => ({ site: link.site, reference })));
    settledCount += settled.length;
  };
  await settle(gone);
  // Acks first: a message that its recipient has need not travel. What is confirmed is settled at once.
  for (const some of framesOf(acks)) await settle(await bury(link, some, config.own));
  for (const some of framesOf(messages)) await settle(await put(link, some, config.own));
  deps.events.drained(link.site, settledCount);
  return settledCount > 0;
}

interface Owed {
  readonly reference: Reference;
  readonly record: Uint8Array;
}

function* framesOf(owed: readonly Owed[]): Generator<readonly Owed[]> {
  let frame: Owed[] = [];
  let bytes = 0;
  for (const one of owed) {
    if (frame.length > 0 && bytes + one.record.length > FRAME_RECORDS_BYTES) {
      yield frame;
      frame = [];
      bytes = 0;
    }
    frame.push(one);
    bytes += one.record.length;
  }
  if (frame.length > 0) yield frame;
}

function offered(owed: readonly Owed[], own: SiteName): readonly OfferedRecord[] {
  return owed.map(({ record }) => ({ record, holders: [own] }));
}

/** Offers acks; gives those that the other site has now. */
async function bury(link: PeerLink, acks: readonly Owed[], own: SiteName): Promise<readonly Reference[]> {
  const reply = await link.call({ type: 'bury', records: offered(acks, own) }, CALL_TIMEOUT_MS);
  if (reply.type !== 'done') throw new PeerUnreachable(`bury was answered by ${reply.type}`);
  return acks.map(({ reference }) => reference);
}

/** Offers messages; gives those that the other site has now, or will never need. */
async function put(link: PeerLink, messages: readonly Owed[], own: SiteName): Promise<readonly Reference[]> {
  const reply = await link.call({ type: 'put', records: offered(messages, own) }, CALL_TIMEOUT_MS);
  if (reply.type !== 'outcomes') throw new PeerUnreachable(`put was answered by ${reply.type}`);
  return messages.flatMap(({ reference }, index) => {
    const outcome = reply.outcomes[index];
    return outcome === undefined || outcome === 'damaged' ? [] : [reference];
  });
}
