/**
 * What other sites are owed, in the Redis store: pages of what was written just now (`redis-pages.ts`), and outboxes, a
 * sorted set for each partition and site, of what was not confirmed in time.
 *
 * What is moved is in both for a moment, and for longer if somebody dies in between; so nothing is lost, and what is
 * offered twice is a duplicate there.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { PARTITIONS, type Partition, partitionOf } from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';
import type { Debt, MessageStore, Settlement } from '../ports.ts';
import { createDueTimes, type DueTimes } from './due-times.ts';
import { evalsha, type RedisCommand, type RedisConnection } from './redis-connection.ts';
import type { Script } from './redis-lua.ts';
import { MEMBER_BYTES, type Outbox, packOutboxes } from './redis-packing.ts';
import { addDebts, type Owed, type PageName, type Pages, readPageName } from './redis-pages.ts';
import type { Run } from './redis-reads.ts';
import { listOf, outboxKey, readMembers } from './redis-records.ts';
import { assertSome, numberIn, STEP_PARTITIONS, scoreAt, UNKNOWN_EACH } from './redis-rounds.ts';
import { DEBT } from './redis-scripts.ts';
import { OWE, SETTLE } from './redis-write-scripts.ts';

export interface OutboxKeeper extends Pick<MessageStore, 'owed' | 'settle' | 'debts'> {
  /** To be told when a page may have been written that nobody remembers. */
  readonly unknown: (home: Partition, atMs: number) => void;
  /** Moves what has been on a page since before `beforeMs`, so that no page is kept for long. */
  move(beforeMs: number): Promise<void>;
}

export interface OutboxDeps {
  readonly connection: Pick<RedisConnection, 'spansPartitions'>;
  readonly run: Run;
  /** The same, but it gives the Error of a command in place of its reply: a node that is away must not keep the others. */
  readonly runEach: Run;
  readonly pages: Pages;
  /** Called with how many entries found no room in an outbox. */
  readonly onFull: (count: number) => void;
}

const OWED_MAX = 4_096;
/** The part of a limit that one partition may use up, so that it starves no other. */
const OWED_SHARE = 8;
/** Members of one outbox in one script. */
const ENTRIES_MAX = 1_024;
/** One Redis has all pages in one place; of so many looks one looks there. */
const HOME_EVERY = 16;

/** Pages with debts, and what they are owed to. */
interface Found {
  readonly page: PageName;
  readonly owed: readonly Owed[];
}

/** Knows nothing at first, so its first look is at everything. */
export function createOutboxKeeper(deps: OutboxDeps): OutboxKeeper {
  const { connection, run, runEach, pages, onFull } = deps;
  const pageTimes = createDueTimes();
  const owedTo = new Map<SiteName, DueTimes>();
  let looks = 0;
  const owedBy = (site: SiteName): DueTimes => {
    const times = owedTo.get(site) ?? createDueTimes();
    owedTo.set(site, times);
    return times;
  };
  const moveAll = async (found: readonly Found[]): Promise<void> => {
    if (found.length === 0) return;
    const outboxes = found.flatMap(({ owed }) => owed.flatMap(byPartition));
    for (const outbox of outboxes) owedBy(outbox.site).note(partitionOfOutbox(outbox), outbox.atMs);
    const groups = inGroups(connection, outboxes);
    const replies = await runEach(groups.map((group) => outboxCommand(OWE, group)));
    const kept = new Set<Partition>();
    for (const [index, group] of groups.entries()) {
      const full = replies[index];
      if (full instanceof Error) for (const outbox of group) kept.add(partitionOfOutbox(outbox));
      else if (Number(full) > 0) onFull(Number(full));
    }
    const moved = found.filter(
      ({ owed }) => !owed.flatMap(byPartition).some((one) => kept.has(partitionOfOutbox(one))),
    );
    await forget(moved.map(({ page }) => page));
  };
  /** What cannot be taken away now stays and is tried again. */
  const forget = async (names: readonly PageName[]): Promise<void> => {
    const homes = [...Map.groupBy(names, ({ home }) => home)];
    const replies = await runEach(
      homes.map(([home, some]) => ['HDEL', `o:{${home}}`, ...some.map(({ field }) => field)]),
    );
    for (const [index, [, some]] of homes.entries()) {
      if (!(replies[index] instanceof Error)) pages.closed(some);
    }
  };
  const homesToLookAt = (beforeMs: number): readonly Partition[] => {
    looks += 1;
    const round = connection.spansPartitions
      ? PARTITIONS.slice(0, looks % HOME_EVERY === 0 ? 1 : 0)
      : pageTimes.round(UNKNOWN_EACH);
    return [...new Set([...pageTimes.before(beforeMs), ...round])];
  };

  return {
    unknown: (home, atMs) => pageTimes.note(home, atMs),
    move: (beforeMs) => moveAll(pages.before(beforeMs)),
    owed: async (site, beforeMs, limit) => {
      const foreign = await findForeign(homesToLookAt(beforeMs), beforeMs, pageTimes, deps);
      await moveAll([...pages.before(beforeMs), ...foreign]);
      return collectOwed(owedBy(site), site, beforeMs, Math.min(limit, OWED_MAX), runEach);
    },
    settle: async (settlements) => {
      await settleOutboxes(connection, takeOffPages(settlements, pages, owedBy), run);
      const done = pages.done();
      if (done.length > 0) await forget(done);
    },
    debts: async (sites) => {
      const inOutboxes = await sumDebts(new Map(sites.map((site) => [site, owedBy(site)])), run);
      return new Map([...inOutboxes].map(([site, debt]) => [site, addDebts(debt, pages.debtTo(site))]));
    },
  };
}

/** Takes off its page what is settled; gives what may be in an outbox, by the sites to which it was owed. */
function takeOffPages(
  settlements: readonly Settlement[],
  pages: Pick<Pages, 'settle'>,
  owedBy: (site: SiteName) => DueTimes,
): ReadonlyMap<SiteName, readonly Reference[]> {
  const inOutbox = new Map<SiteName, Reference[]>();
  for (const { sites, references } of settlements) {
    for (const reference of references) {
      const onPages = pages.settle(sites, reference);
      for (const site of sites) {
        // It may have been owed before, and be in an outbox as well.
        if (onPages.includes(site) && !owedBy(site).mayHold(partitionOf(reference.mailbox))) continue;
        const some = inOutbox.get(site);
        if (some === undefined) inOutbox.set(site, [reference]);
        else some.push(reference);
      }
    }
  }
  return inOutbox;
}

/** Pages from before `beforeMs` that this relay does not remember. */
async function findForeign(
  homes: readonly Partition[],
  beforeMs: number,
  times: DueTimes,
  { runEach, pages }: OutboxDeps,
): Promise<readonly Found[]> {
  if (homes.length === 0) return [];
  const moment = times.moment();
  const replies = await runEach(homes.map((home) => ['HKEYS', `o:{${home}}`]));
  const due: PageName[] = [];
  for (const [index, home] of homes.entries()) {
    if (replies[index] instanceof Error) continue;
    const foreign = listOf(replies[index])
      .map((field) => readPageName(home, String(field)))
      .filter((page) => page !== undefined)
      .filter((page) => !pages.has(page));
    due.push(...foreign.filter((page) => page.atMs < beforeMs));
    const next = Math.min(...foreign.map(({ atMs }) => atMs).filter((atMs) => atMs >= beforeMs));
    times.found(home, moment, Number.isFinite(next) ? next : undefined);
  }
  const contents = await runEach(due.map(({ home, field }) => ['HGET', `o:{${home}}`, field]));
  return due.flatMap((page, index) => {
    const content = contents[index];
    if (content instanceof Error) return [];
    const references = readMembers(membersIn(content));
    return [{ page, owed: page.sites.map((site) => ({ site, atMs: page.atMs, references })) }];
  });
}

function membersIn(content: unknown): readonly Buffer[] {
  if (!Buffer.isBuffer(content)) return [];
  const members: Buffer[] = [];
  for (let at = 0; at + MEMBER_BYTES <= content.length; at += MEMBER_BYTES) {
    members.push(content.subarray(at, at + MEMBER_BYTES));
  }
  return members;
}

function byPartition({ site, atMs, references }: Owed): readonly Outbox[] {
  const outboxes: Outbox[] = [];
  for (const some of Map.groupBy(references, ({ mailbox }) => partitionOf(mailbox)).values()) {
    for (let at = 0; at < some.length; at += ENTRIES_MAX) {
      outboxes.push({ site, atMs, references: some.slice(at, at + ENTRIES_MAX) });
    }
  }
  return outboxes;
}

/** What one script may reach. */
function inGroups(
  { spansPartitions }: Pick<RedisConnection, 'spansPartitions'>,
  outboxes: readonly Outbox[],
): readonly (readonly Outbox[])[] {
  if (!spansPartitions) return outboxes.map((outbox) => [outbox]);
  return outboxes.length === 0 ? [] : [outboxes];
}

/** `references` are of one partition, and at least one. */
function partitionOfOutbox({ references: [first] }: Outbox): Partition {
  return (first?.mailbox.slice(0, 2) ?? '') as Partition;
}

function outboxCommand(script: Script, outboxes: readonly Outbox[]): RedisCommand {
  const [first] = outboxes;
  if (first === undefined) throw new RangeError('no outbox');
  return evalsha(script, outboxKey(partitionOfOutbox(first), first.site), packOutboxes(outboxes));
}

async function settleOutboxes(
  connection: Pick<RedisConnection, 'spansPartitions'>,
  settled: ReadonlyMap<SiteName, readonly Reference[]>,
  run: Run,
): Promise<void> {
  const outboxes = [...settled].flatMap(([site, references]) => byPartition({ site, atMs: 0, references }));
  await run(inGroups(connection, outboxes).map((group) => outboxCommand(SETTLE, group)));
}

async function collectOwed(
  times: DueTimes,
  site: SiteName,
  beforeMs: number,
  limit: number,
  runEach: Run,
): Promise<readonly Reference[]> {
  const share = Math.ceil(limit / OWED_SHARE);
  const due = times.before(beforeMs);
  const first = due.slice(0, STEP_PARTITIONS - UNKNOWN_EACH);
  // The unknown ones belong to the first step, which is taken in any case.
  const partitions = [...new Set([...first, ...times.round(UNKNOWN_EACH), ...due])];
  const found: Reference[] = [];
  for (let at = 0; at < partitions.length && found.length < limit; at += STEP_PARTITIONS) {
    const some = partitions.slice(at, at + STEP_PARTITIONS);
    const moment = times.moment();
    const replies = await runEach(
      some.map((p) => ['ZRANGE', outboxKey(p, site), 0, share - 1, 'WITHSCORES']),
    );
    assertSome(replies);
    for (const [index, partition] of some.entries()) {
      // A node that is away must not keep what the others owe: its partitions are asked again.
      if (replies[index] instanceof Error) continue;
      const entries = listOf(replies[index]);
      times.found(partition, moment, scoreAt(entries, 0));
      const members: unknown[] = [];
      for (let place = 0; place < entries.length; place += 2) {
        if ((scoreAt(entries, place) ?? beforeMs) >= beforeMs) break;
        members.push(entries[place]);
      }
      found.push(...readMembers(members));
    }
  }
  return found.slice(0, limit);
}

/** Of all partitions or of none: what is owed from one that cannot be asked would look as if it were paid. */
async function sumDebts(
  timesOf: ReadonlyMap<SiteName, DueTimes>,
  run: Run,
): Promise<ReadonlyMap<SiteName, Debt>> {
  const sites = [...timesOf.keys()];
  // One unknown partition is enough here, because `owed` goes round as well.
  const [any] = timesOf.values();
  const partitions = new Set<Partition>(any?.round(1));
  const moments = new Map<SiteName, number>();
  for (const [site, times] of timesOf) {
    moments.set(site, times.moment());
    for (const partition of times.before(Number.POSITIVE_INFINITY)) partitions.add(partition);
  }
  const asked = [...partitions];
  const replies = await run(asked.map((p) => evalsha(DEBT, `x:{${p}}`, [p, ...sites])));
  return new Map(
    sites.map((site, place) => {
      let count = 0;
      let oldestMs: number | undefined;
      for (const [index, partition] of asked.entries()) {
        const parts = listOf(replies[index]);
        const here = Number(parts[2 * place] ?? 0);
        const sinceMs = here === 0 ? undefined : numberIn(parts[2 * place + 1]);
        timesOf.get(site)?.found(partition, moments.get(site) ?? 0, sinceMs);
        count += here;
        if (sinceMs !== undefined) oldestMs = Math.min(oldestMs ?? sinceMs, sinceMs);
      }
      return [site, { count, oldestMs }];
    }),
  );
}
