/**
 * What a relay looks for in the store by itself: what has expired, and what it owes (`redis-outbox.ts`). Only partitions
 * that may have something are asked, and a few more each time (`due-times.ts`), so that an idle relay hardly asks.
 */
import { TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import { type Partition, partitionOf } from '../core/mailbox.ts';
import type { Burial, Insertion, MessageStore } from '../ports.ts';
import { createDueTimes, type DueTimes } from './due-times.ts';
import { evalsha } from './redis-connection.ts';
import type { Run } from './redis-reads.ts';
import { listOf } from './redis-records.ts';
import { EXPIRE } from './redis-scripts.ts';
import { unavailable } from './redis-writes.ts';

export interface Rounds extends Pick<MessageStore, 'expire'> {
  /**
   * To be told before a write is sent, whatever comes of it: looks go the same way as writes, so what is asked later
   * is executed later.
   */
  inserting(insertions: readonly Insertion[]): void;
  burying(burials: readonly Burial[]): void;
}

/** How many partitions that nothing is known of each look takes along: a round of all takes 64 looks. */
export const UNKNOWN_EACH = 4;
/** How many partitions are asked in one step. */
export const STEP_PARTITIONS = 32;
/** How many things one script discards: an ack among them may name 512 messages. */
const EXPIRE_MAX = 64;

/**
 * Looks through `runEach`, which gives the Error of a command in place of its reply, by what it is told of writes. A node
 * that is away must not keep the others: its partitions are looked at again.
 */
export function createRounds(runEach: Run): Rounds {
  const expiries = createDueTimes();
  return {
    inserting: (insertions) => {
      for (const { message } of insertions) expiries.note(partitionOf(message.mailbox), message.expiresMs);
    },
    burying: (burials) => {
      for (const { ack } of burials)
        expiries.note(partitionOf(ack.mailbox), ack.expiresMs + TOMBSTONE_SLACK_MS);
    },
    expire: async (nowMs, limit) => {
      await lookAhead(expiries, runEach);
      return sweep(expiries, nowMs, limit, runEach);
    },
  };
}

/** Learns when the next partitions of the round have something to discard. */
async function lookAhead(times: DueTimes, runEach: Run): Promise<void> {
  const moment = times.moment();
  const partitions = times.round(UNKNOWN_EACH);
  const replies = await runEach(partitions.map((p) => ['ZRANGE', `x:{${p}}`, 0, 0, 'WITHSCORES']));
  assertSome(replies);
  for (const [index, partition] of partitions.entries()) {
    if (replies[index] instanceof Error) continue;
    times.found(partition, moment, scoreAt(listOf(replies[index]), 0));
  }
}

async function sweep(times: DueTimes, nowMs: number, limit: number, runEach: Run): Promise<number> {
  let due = times.before(nowMs + 1);
  let left = limit;
  let messages = 0;
  while (due.length > 0 && left > 0) {
    const some = due.slice(0, Math.min(STEP_PARTITIONS, left));
    const step = Math.min(Math.floor(left / some.length), EXPIRE_MAX);
    const moment = times.moment();
    const replies = await runEach(some.map((p) => evalsha(EXPIRE, `x:{${p}}`, [p, nowMs, step])));
    const unfinished: Partition[] = [];
    for (const [index, partition] of some.entries()) {
      if (replies[index] instanceof Error) continue;
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

/** Throws a `StoreUnavailable` when every reply, and at least one, is an Error. */
export function assertSome(replies: readonly unknown[]): void {
  const failed = replies.find((reply) => reply instanceof Error);
  if (failed !== undefined && replies.every((reply) => reply instanceof Error)) throw unavailable(failed);
}

/** The score behind the member at `place` of a reply WITHSCORES; undefined when there is none. */
export function scoreAt(entries: readonly unknown[], place: number): number | undefined {
  return numberIn(entries[place + 1]);
}

/** A score, which Redis gives as text. */
export function numberIn(reply: unknown): number | undefined {
  return Buffer.isBuffer(reply) ? Number(reply.toString('latin1')) : undefined;
}
