/**
 * What a relay looks for in the store by itself: what it owes to other sites, and what has expired. Only partitions
 * that may have something are asked, and a few more each time (`due-times.ts`), so that an idle relay hardly asks.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import { type Partition, partitionOf } from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';
import type { Burial, Debt, Insertion, MessageStore } from '../ports.ts';
import { createDueTimes, type DueTimes } from './due-times.ts';
import { evalsha } from './redis-connection.ts';
import type { Run } from './redis-reads.ts';
import { listOf, outboxKey, readMembers } from './redis-records.ts';
import { DEBT, EXPIRE } from './redis-scripts.ts';
import { type Timed, unavailable } from './redis-writes.ts';

export interface Rounds extends Pick<MessageStore, 'owed' | 'debts' | 'expire'> {
  /**
   * To be told before a write is sent, whatever comes of it: looks go the same way as writes, so what is asked later
   * is executed later.
   */
  inserting(insertions: readonly (Insertion & Timed)[]): void;
  burying(burials: readonly (Burial & Timed)[]): void;
}

/** How many partitions that nothing is known of each look takes along: a round of all takes 64 looks. */
const UNKNOWN_EACH = 4;
const OWED_MAX = 4_096;
/** How many partitions are asked in one step. */
const STEP_PARTITIONS = 32;
/** The part of a limit that one partition may use up, so that it starves no other. */
const OWED_SHARE = 8;
/** How many things one script discards: an ack among them may name 512 messages. */
const EXPIRE_MAX = 64;

/** Looks through `run`, by what it is told of writes; `runEach` gives the Error of a command in place of its reply. */
export function createRounds(run: Run, runEach: Run): Rounds {
  const expiries = createDueTimes();
  const owedTo = new Map<SiteName, DueTimes>();
  const owedBy = (site: SiteName): DueTimes => {
    const times = owedTo.get(site) ?? createDueTimes();
    owedTo.set(site, times);
    return times;
  };
  const owe = (partition: Partition, sites: readonly SiteName[], nowMs: number): void => {
    for (const site of sites) owedBy(site).note(partition, nowMs);
  };
  return {
    inserting: (insertions) => {
      for (const { message, owedTo: sites, nowMs } of insertions) {
        const partition = partitionOf(message.mailbox);
        expiries.note(partition, message.expiresMs);
        owe(partition, sites, nowMs);
      }
    },
    burying: (burials) => {
      for (const { ack, owedTo: sites, nowMs } of burials) {
        const partition = partitionOf(ack.mailbox);
        expiries.note(partition, ack.expiresMs + TOMBSTONE_SLACK_MS);
        owe(partition, sites, nowMs);
      }
    },
    owed: (site, beforeMs, limit) =>
      collectOwed(owedBy(site), site, beforeMs, Math.min(limit, OWED_MAX), runEach),
    debts: async (sites) => sumDebts(new Map(sites.map((site) => [site, owedBy(site)])), run),
    expire: async (nowMs, limit) => {
      await lookAhead(expiries, run);
      return sweep(expiries, nowMs, limit, run);
    },
  };
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
    const failed = replies.find((reply) => reply instanceof Error);
    if (failed !== undefined && replies.every((reply) => reply instanceof Error)) throw unavailable(failed);
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

/** Learns when the next partitions of the round have something to discard. */
async function lookAhead(times: DueTimes, run: Run): Promise<void> {
  const moment = times.moment();
  const partitions = times.round(UNKNOWN_EACH);
  const replies = await run(partitions.map((p) => ['ZRANGE', `x:{${p}}`, 0, 0, 'WITHSCORES']));
  for (const [index, partition] of partitions.entries()) {
    times.found(partition, moment, scoreAt(listOf(replies[index]), 0));
  }
}

async function sweep(times: DueTimes, nowMs: number, limit: number, run: Run): Promise<number> {
  let due = times.before(nowMs + 1);
  let left = limit;
  let messages = 0;
  while (due.length > 0 && left > 0) {
    const some = due.slice(0, Math.min(STEP_PARTITIONS, left));
    const step = Math.min(Math.floor(left / some.length), EXPIRE_MAX);
    const moment = times.moment();
    const replies = await run(some.map((p) => evalsha(EXPIRE, `x:{${p}}`, [p, nowMs, step])));
    const unfinished: Partition[] = [];
    for (const [index, partition] of some.entries()) {
      const [discarded, total, next] = listOf(replies[index]);
      messages += Number(discarded);
      left -= Number(total);
      times.found(partition, moment, numberIn(next));
      if (Number(total) >= step) unfinished.push(partition);
    }
    due = [...unfinished, ...due.slice(some.length)];
  }
  return messages;
}

/** The score behind the member at `place` of a reply WITHSCORES; undefined when there is none. */
function scoreAt(entries: readonly unknown[], place: number): number | undefined {
  return numberIn(entries[place + 1]);
}

/** A score, which Redis gives as text. */
function numberIn(reply: unknown): number | undefined {
  return Buffer.isBuffer(reply) ? Number(reply.toString('latin1')) : undefined;
}
