/**
 * What became of the numbered messages of a job, and the course of one: warm up, measure, stop, wait for the rest. The same
 * for the relay and for the brokers that it is compared with, so that both are measured alike.
 */
import { systemClock } from '../../system/clock.ts';

/** What is known of a message by its number. */
const ACCEPTED = 1;
const DELIVERED = 2;
const MESSAGES_MAX = 4_000_000;
const DELIVERED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 20;

export interface Tally {
  readonly states: Uint8Array;
  readonly sentMs: Float64Array;
  messages: number;
  accepted: number;
  delivered: number;
  repeats: number;
  /** Latencies are noted only then. */
  isMeasuring: boolean;
  isStopped: boolean;
  readonly acceptMs: number[];
  readonly deliverMs: number[];
}

export function createTally(): Tally {
  return {
    states: new Uint8Array(MESSAGES_MAX),
    sentMs: new Float64Array(MESSAGES_MAX),
    messages: 0,
    accepted: 0,
    delivered: 0,
    repeats: 0,
    isMeasuring: false,
    isStopped: false,
    acceptMs: [],
    deliverMs: [],
  };
}

/** The number of a message that goes out now; undefined when no more are to. */
export function nextNumber(tally: Tally): number | undefined {
  if (tally.isStopped || tally.messages >= MESSAGES_MAX) return undefined;
  const number = tally.messages;
  tally.messages += 1;
  tally.sentMs[number] = systemClock.monotonicMs();
  return number;
}

export function noteAccepted(tally: Tally, number: number): void {
  tally.accepted += 1;
  tally.states[number] = (tally.states[number] ?? 0) | ACCEPTED;
  if (tally.isMeasuring) tally.acceptMs.push(systemClock.monotonicMs() - (tally.sentMs[number] ?? 0));
}

export function noteDelivered(tally: Tally, number: number): void {
  const state = tally.states[number] ?? 0;
  if ((state & DELIVERED) !== 0) {
    tally.repeats += 1;
    return;
  }
  tally.states[number] = state | DELIVERED;
  tally.delivered += 1;
  if (tally.isMeasuring) tally.deliverMs.push(systemClock.monotonicMs() - (tally.sentMs[number] ?? 0));
}

export interface Course {
  /**
   * Before measuring begins: until so many messages were accepted, or so many milliseconds have passed. Node compiles what
   * runs often only after it has run often.
   */
  readonly warmUp: { readonly messages: number; readonly ms: number };
  readonly measureMs: number;
}

/**
 * Gives what `snapshot` said at the beginning and the end of the measured time. Resolves when everything that was accepted
 * is delivered, or ten seconds after the last was accepted; `senders` end once the tally is stopped.
 */
export async function runCourse<S>(
  tally: Tally,
  { warmUp, measureMs }: Course,
  senders: readonly Promise<void>[],
  snapshot: () => S,
): Promise<{ readonly before: S; readonly after: S }> {
  await until(() => tally.accepted >= warmUp.messages, warmUp.ms);
  const before = snapshot();
  tally.isMeasuring = true;
  await systemClock.sleep(measureMs);
  tally.isMeasuring = false;
  const after = snapshot();
  tally.isStopped = true;
  await Promise.all(senders);
  await until(() => countUndelivered(tally) === 0, DELIVERED_WITHIN_MS);
  return { before, after };
}

/** Messages that were accepted and not delivered. */
export function countUndelivered({ states, messages }: Tally): number {
  let count = 0;
  for (let number = 0; number < messages; number += 1) if (states[number] === ACCEPTED) count += 1;
  return count;
}

async function until(isSo: () => boolean, withinMs: number): Promise<void> {
  const untilMs = systemClock.monotonicMs() + withinMs;
  while (!isSo() && systemClock.monotonicMs() < untilMs) await systemClock.sleep(LOOK_EVERY_MS);
}
