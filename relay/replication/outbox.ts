/**
 * Drains the outbox: offers to each reachable site what this site owes it, until the site says that it has it.
 *
 * Entries younger than the grace are left alone, because the write path is usually still settling them. Any relay
 * of the site may drain at the same time as another: every step is idempotent.
 *
 * What is owed and cannot be read here is not forgotten: it may have been damaged, so it is fetched from another site
 * first. Only when every site was asked and none has it, it is settled, and counted.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import { describeError, type Log } from '../../system/log.ts';
import { partitionOf } from '../core/mailbox.ts';
import type { OfferedRecord, PeerRefusal } from '../core/peer-frame.ts';
import type { Reference } from '../core/reference.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import { type PullingDeps, pullFrom } from './pulling.ts';

export interface OutboxConfig {
  readonly own: SiteName;
  /** How many other sites the fleet has. */
  readonly others: () => number;
  /** Age at which an entry is taken for forgotten by the write path, milliseconds. */
  readonly graceMs: number;
  readonly intervalMs: number;
}

export interface OutboxDeps extends PullingDeps {
  readonly links: readonly PeerLink[];
  readonly log: Log;
}

/**
 * Entries bear the time of the clock that wrote them. One that was ahead then must not keep them from being drained
 * until its time has come: so often, in milliseconds, all of them are looked at, and those are due that were there the
 * last time. The others were written just now.
 */
const AHEAD_EVERY_MS = 10_000;
/** What one such look takes; a store gives each partition a share of an eighth. */
const AHEAD_PAGE = 1024;
const PAGE = 128;
/** A page of fewer was all that was due: a store gives each partition a share of an eighth. */
const PAGE_SHARE: number = PAGE / 8;
const CALL_TIMEOUT_MS = 5000;
/** After so long an entry that could not be resolved is looked at again, milliseconds. */
const PARKED_MS = 10_000;
const PARKED_MAX = 2048;
/** When a site is without so many partitions and takes an ack in no other, its store is away as a whole. */
const AWAY_MAX = 8;
/** A frame ends before the record that would pass this; one record alone may be larger. */
const FRAME_RECORDS_BYTES: number = 1024 * 1024;

/** Drains towards one site until `stopped`; never rejects before. */
export async function drainOutbox(
  link: PeerLink,
  config: OutboxConfig,
  deps: OutboxDeps,
  stopped: AbortSignal,
): Promise<void> {
  const { clock } = deps;
  const parked = createParked(clock);
  let aheadMs = clock.monotonicMs() + AHEAD_EVERY_MS;
  let seen = new Set<string>();
  /** What is owed since long ago, whatever its clock said. */
  const findAhead = async (): Promise<readonly Reference[]> => {
    const all = await deps.store.owed(link.site, Number.MAX_SAFE_INTEGER, AHEAD_PAGE);
    const old = all.filter((reference) => seen.has(keyOf(reference)));
    seen = new Set(all.map(keyOf));
    return old;
  };
  while (!stopped.aborted) {
    try {
      const isAhead = link.isUp() && clock.monotonicMs() >= aheadMs;
      if (isAhead) {
        aheadMs = clock.monotonicMs() + AHEAD_EVERY_MS;
        await drain(link, await findAhead(), parked, config, deps);
      }
      const full = link.isUp() && (await drainPage(link, parked, config, deps));
      if (!full) await clock.sleep(config.intervalMs, stopped);
    } catch (error) {
      if (stopped.aborted) return;
      deps.log.debug('outbox paused', { site: link.site, reason: describeError(error) });
      await clock.sleep(config.intervalMs, stopped).catch(() => undefined);
    }
  }
}

/** Offers one page; true when it got rid of something and there may be more. */
async function drainPage(
  link: PeerLink,
  parked: Parked,
  config: OutboxConfig,
  deps: OutboxDeps,
): Promise<boolean> {
  const beforeMs = deps.clock.wallMs() - config.graceMs;
  const owed = await deps.store.owed(link.site, beforeMs, PAGE + parked.count());
  return (await drain(link, owed, parked, config, deps)) > 0 && owed.length >= PAGE_SHARE;
}

/** Offers what is owed and not parked; gives how much of it is settled now. */
async function drain(
  link: PeerLink,
  owed: readonly Reference[],
  parked: Parked,
  config: OutboxConfig,
  deps: OutboxDeps,
): Promise<number> {
  const { store } = deps;
  const references = owed.filter((reference) => !parked.has(reference));
  if (references.length === 0) return 0;
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
    await store.settle([{ sites: [link.site], references: settled }]);
    settledCount += settled.length;
  };
  await settle(await resolveUnreadable(gone, config, parked, deps));
  // Acks first: a message that its recipient has need not travel. What is confirmed is settled at once.
  const refused: Owed[] = [];
  for (const some of framesOf(acks)) {
    const refusal = await bury(link, some, config.own);
    if (refusal === undefined) await settle(some.map(({ reference }) => reference));
    else refused.push(...some);
  }
  for (const some of framesOf(messages)) {
    const confirmed = await put(link, some, config.own);
    await settle(confirmed);
    // What the other site does not take stays owed, and must not keep what comes behind it waiting.
    parked.add(some.map(({ reference }) => reference).filter((reference) => !confirmed.includes(reference)));
  }
  for await (const { taken, left } of buryInParts(link, refused, parked.turn(), config.own)) {
    await settle(taken);
    parked.add(left);
  }
  deps.events.drained(link.site, settledCount);
  return settledCount;
}

/** Entries that cannot be resolved now, so that they do not stand in the way of others. */
interface Parked {
  readonly has: (reference: Reference) => boolean;
  readonly add: (references: readonly Reference[]) => void;
  readonly count: () => number;
  /** Another number each time, one after the other. */
  readonly turn: () => number;
}

function keyOf({ kind, mailbox, id }: Reference): string {
  return `${kind} ${mailbox} ${id}`;
}

function createParked(clock: Clock): Parked {
  const untilMs = new Map<string, number>();
  let turns = 0;
  return {
    has: (reference) => (untilMs.get(keyOf(reference)) ?? 0) > clock.monotonicMs(),
    add: (references) => {
      for (const reference of references) untilMs.set(keyOf(reference), clock.monotonicMs() + PARKED_MS);
      for (const [key, until] of untilMs) {
        if (untilMs.size > PARKED_MAX || until <= clock.monotonicMs()) untilMs.delete(key);
      }
    },
    count: () => untilMs.size,
    turn: () => {
      turns += 1;
      return turns;
    },
  };
}

/**
 * What is owed and not readable here: gives what needs no copy any more. What another site has is stored here again
 * and stays owed; what cannot be decided, because a site cannot be asked, is parked.
 */
async function resolveUnreadable(
  gone: readonly Reference[],
  config: OutboxConfig,
  parked: Parked,
  deps: OutboxDeps,
): Promise<readonly Reference[]> {
  if (gone.length === 0) return [];
  let lacking = await deps.store.missing(gone);
  const decided = gone.filter((reference) => !lacking.includes(reference));
  // Acked here, so that no copy is needed; or a sound copy has come meanwhile, which is read next time.
  const again = await deps.store.load(decided);
  const buried = decided.filter((_, index) => again[index] === undefined);
  let asked = 0;
  for (const link of deps.links) {
    if (lacking.length === 0 || !link.isUp()) continue;
    try {
      await pullFrom(link, lacking, deps);
      asked += 1;
    } catch (error) {
      deps.log.debug('repair paused', { site: link.site, reason: describeError(error) });
    }
    lacking = await deps.store.missing(lacking);
  }
  if (asked >= config.others()) {
    if (lacking.length > 0) deps.events.owedNowhere(lacking.length);
    return [...buried, ...lacking];
  }
  parked.add(lacking);
  return buried;
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

/** Offers acks, which are taken all or refused all; gives why they were refused. */
async function bury(link: PeerLink, acks: readonly Owed[], own: SiteName): Promise<PeerRefusal | undefined> {
  const reply = await link.call({ type: 'bury', records: offered(acks, own) }, CALL_TIMEOUT_MS);
  if (reply.type === 'done') return undefined;
  if (reply.type === 'refused' && reply.reason !== 'overloaded') return reply.reason;
  throw new PeerUnreachable(`bury was answered by ${reply.type}`);
}

/**
 * Offers acks again that were refused together: a site may be without a part of its store, or of an older version that
 * does not know one of them, and the others need not wait for that. Gives what is taken, and what is better left alone
 * for a while: nothing when the site takes nothing at all, for then it may be there again at any moment. Each `turn` begins
 * with other parts, so that none is always behind those that are away.
 */
async function* buryInParts(
  link: PeerLink,
  acks: readonly Owed[],
  turn: number,
  own: SiteName,
): AsyncGenerator<{ readonly taken: readonly Reference[]; readonly left: readonly Reference[] }> {
  const away: Reference[] = [];
  const unknown: Reference[] = [];
  let partsAway = 0;
  let isAnyTaken = false;
  const all = [...Map.groupBy(acks, ({ reference }) => partitionOf(reference.mailbox)).values()];
  const from = (turn * AWAY_MAX) % Math.max(1, all.length);
  const parts = [...all.slice(from), ...all.slice(0, from)];
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    const references = part.map(({ reference }) => reference);
    const refusal = await bury(link, part, own);
    if (refusal === undefined) {
      isAnyTaken = true;
      yield { taken: references, left: [] };
    } else if (refusal === 'store_unavailable') {
      away.push(...references);
      partsAway += 1;
      if (partsAway >= AWAY_MAX && !isAnyTaken) break;
    } else if (part.length > 1) parts.push(...part.map((one) => [one]));
    else unknown.push(...references);
  }
  const isInTheWay = unknown.length >= PAGE_SHARE;
  yield { taken: [], left: [...(isAnyTaken ? away : []), ...(isAnyTaken || isInTheWay ? unknown : [])] };
}

/** Offers messages; gives those that the other site has now, or will never need. */
async function put(link: PeerLink, messages: readonly Owed[], own: SiteName): Promise<readonly Reference[]> {
  const reply = await link.call({ type: 'put', records: offered(messages, own) }, CALL_TIMEOUT_MS);
  if (reply.type !== 'outcomes') throw new PeerUnreachable(`put was answered by ${reply.type}`);
  return messages.flatMap(({ reference }, index) => {
    const outcome = reply.outcomes[index];
    return outcome === undefined || outcome === 'not_kept' ? [] : [reference];
  });
}
