/**
 * The evidence of a run: what was seen, and nothing that follows from it.
 */
import type { Expectation } from './faults/fault.ts';
import type { LedgerEntry } from './ledger.ts';
import type { AnswerChange } from './nameserver-watch.ts';
import type { Window } from './outages.ts';
import type { VantageEvent } from './vantage-events.ts';

export interface Evidence {
  /** What the fault says may be seen of it. */
  readonly expects: Expectation;
  /** The control run. */
  readonly isControl: boolean;
  /** The site that it happened to. */
  readonly site: string;
  readonly sites: readonly string[];
  readonly runId: string;
  readonly payloadBytes: number;
  readonly window: Window;
  /** When the fault was proved effective; undefined when it was not. */
  readonly provedMs: number | undefined;
  readonly vantageEvents: readonly VantageEvent[];
  /** Of the nameservers, and of unbound when there was one. */
  readonly answers: readonly AnswerChange[];
  /** `load`: what a surge sent beside the others. */
  readonly ledgers: Readonly<Record<'dns' | 'failover' | 'late' | 'load', readonly LedgerEntry[]>>;
  readonly recovery: Recovery;
  /** Every recipient was connected when the drill stopped waiting for messages to arrive. */
  readonly recipientsConnected: boolean;
  /** Every late reader reached the end of its mailbox. */
  readonly lateReadersFinished: boolean;
}

/** Monotonic milliseconds; undefined: it did not happen while the drill watched. */
export interface Recovery {
  /** The other sites owe each other nothing that was accepted before the fault. */
  readonly twoCopiesMs: number | undefined;
  /** Every site wants clients. */
  readonly readyMs: number | undefined;
  readonly inEveryAnswerMs: number | undefined;
  /** Every site has every message that was accepted before all were ready. */
  readonly threeCopiesMs: number | undefined;
}

/** When the fault began to count: its proof or, without one, its beginning. */
export function zeroOf({ provedMs, window }: Evidence): number {
  return provedMs ?? window.beganMs;
}
