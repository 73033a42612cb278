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

/** Looks through `run`, by what it is told of writes. */
export function createRounds(run: Run): Rounds {
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
      await lookAhead(expiries, run);
      return sweep(expiries, nowMs, limit, run);
    },
  };
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
export function scoreAt(entries: readonly unknown[], place: number): number | undefined {
  return numberIn(entries[place + 1]);
}

/** A score, which Redis gives as text. */
export function numberIn(reply: unknown): number | undefined {
  return Buffer.isBuffer(reply) ? Number(reply.toString('latin1')) : undefined;
}
