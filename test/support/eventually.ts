/**
 * Waiting for a condition instead of for a time.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 20;

/** Resolves with the first value that is not undefined; rejects, naming what was awaited, after `withinMs`. */
export async function eventually<Value>(
  what: string,
  probe: () => Promise<Value | undefined> | Value | undefined,
  withinMs: number = 15_000,
): Promise<Value> {
  const untilMs = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > untilMs) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await sleep(POLL_MS);
  }
}
