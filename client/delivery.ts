/**
 * One message on its way to W providers' disks: the same request at one provider after another until one of them
 * accepts it.
 *
 * A round asks each provider once: the next one as soon as the one before fails, or after `hedgeAfterMs` without an
 * answer as far as the budget allows, while the earlier attempts go on. Between rounds there is a back-off with full
 * jitter. The first 201 wins; a refusal (4xx) is final, because push URLs verify themselves and are the same
 * everywhere; anything else is only the end of one attempt.
 */
import { type BackoffConfig, backoffMs } from '../system/backoff.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { RefusedError, TransportError } from './errors.ts';
import type { Site } from './fleet.ts';
import type { HedgeBudget } from './hedge-budget.ts';
import type { Patience } from './patience.ts';
import { isFinal, problemCode, retryAfterMs } from './problem.ts';
import type { RepeatableRequest } from './send-request.ts';
import type { HttpResponse, Transport } from './transport.ts';

/** How long a message is tried, and how hard. */
export interface DeliveryConfig {
  readonly hedgeAfterMs: number;
  readonly attemptTimeoutMs: number;
  readonly deadlineMs: number;
  readonly backoff: BackoffConfig;
}

export interface DeliveryDependencies {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: DeliveryConfig;
  /** Sites in the order in which a round asks them; asked at the beginning of each. */
  readonly order: () => readonly Site[];
  readonly onAttempt: (site: Site, kind: AttemptKind) => void;
  readonly onFailure: (site: Site) => void;
  /** These two are shared by all messages of a sender. */
  readonly hedgeBudget: HedgeBudget;
  readonly patience: Patience;
  /** A message that was due to be hedged was not. */
  readonly onHedgeWithheld: () => void;
}

/** `hedge`: an earlier attempt of the same message still had no answer. */
type AttemptKind = 'first' | 'hedge' | 'retry';

export type DeliveryEnd =
  | {
      readonly kind: 'accepted';
      readonly site: Site;
      readonly response: HttpResponse;
      readonly attempts: number;
    }
  | { readonly kind: 'refused'; readonly error: RefusedError }
  | {
      readonly kind: 'gave_up';
      readonly unknown: boolean;
      readonly attempts: number;
      readonly reasons: readonly string[];
    };

const REASONS_MAX = 32;
/** No word of a relay keeps us away for longer, milliseconds. */
const PATIENCE_MS_MAX = 300_000;
/** A withheld hedge is asked for again after this share of `hedgeAfterMs`: others may have learnt who is failing. */
const ASK_AGAIN_SHARE = 0.25;

/** Rejects only with the reason of `signal`. */
export async function deliver(
  request: RepeatableRequest,
  dependencies: DeliveryDependencies,
  signal: AbortSignal | undefined,
): Promise<DeliveryEnd> {
  signal?.throwIfAborted();
  const delivery = new Delivery(request, dependencies);
  const abandon = (): void => delivery.abandon(signal?.reason);
  signal?.addEventListener('abort', abandon, { once: true });
  try {
    return await delivery.run();
  } finally {
    signal?.removeEventListener('abort', abandon);
  }
}

class Delivery {
  readonly #request: RepeatableRequest;
  readonly #with: DeliveryDependencies;
  readonly #end: PromiseWithResolvers<DeliveryEnd> = Promise.withResolvers();
  readonly #stop: AbortController = new AbortController();
  readonly #giveUpAtMs: number;
  /** Origins that owe an answer, and since when, monotonic milliseconds. */
  readonly #inFlight: Map<string, number> = new Map();
  /** Origins that asked for patience with this message, and until when, monotonic milliseconds. */
  readonly #patience: Map<string, number> = new Map();
  readonly #reasons: string[] = [];
  #queue: Site[] = [];
  #rounds = 0;
  #attempts = 0;
  #unknown = false;
  #isWithheld = false;
  #cancelTimer: () => void = () => undefined;

  constructor(request: RepeatableRequest, dependencies: DeliveryDependencies) {
    this.#request = request;
    this.#with = dependencies;
    this.#giveUpAtMs = dependencies.clock.monotonicMs() + dependencies.config.deadlineMs;
  }

  async run(): Promise<DeliveryEnd> {
    const cancelDeadline = this.#with.clock.after(this.#with.config.deadlineMs, () => this.#giveUp());
    this.#with.hedgeBudget.sent();
    this.#beginRound();
    try {
      return await this.#end.promise;
    } finally {
      cancelDeadline();
      this.#cancelTimer();
      this.#stop.abort();
    }
  }

  abandon(reason: unknown): void {
    this.#end.reject(reason instanceof Error ? reason : new Error('aborted', { cause: reason }));
  }

  #beginRound(): void {
    this.#rounds += 1;
    const nowMs = this.#with.clock.monotonicMs();
    this.#queue = this.#with
      .order()
      .filter(({ origin }) => !this.#inFlight.has(origin) && this.#untilMs(origin) <= nowMs);
    this.#attemptNext();
  }

  #attemptNext(): void {
    this.#cancelTimer();
    const site = this.#queue.shift();
    if (site === undefined) return this.#awaitRound();
    const kind = this.#inFlight.size > 0 ? 'hedge' : this.#attempts === 0 ? 'first' : 'retry';
    this.#with.onAttempt(site, kind);
    void this.#attempt(site);
    if (this.#queue.length > 0) {
      this.#cancelTimer = this.#with.clock.after(this.#with.config.hedgeAfterMs, () => this.#hedge());
    }
  }

  #hedge(): void {
    const { clock, config, hedgeBudget, onHedgeWithheld } = this.#with;
    if (hedgeBudget.take(this.#inFlight)) return this.#attemptNext();
    if (!this.#isWithheld) onHedgeWithheld();
    this.#isWithheld = true;
    this.#cancelTimer = clock.after(config.hedgeAfterMs * ASK_AGAIN_SHARE, () => this.#hedge());
  }

  /** Waits out the back-off, and the patience asked for when every origin asked for it. */
  #awaitRound(): void {
    const { clock, config, order, random } = this.#with;
    const nowMs = clock.monotonicMs();
    const idle = order().filter(({ origin }) => !this.#inFlight.has(origin));
    if (idle.length === 0) return;
    const patienceMs = Math.min(...idle.map(({ origin }) => Math.max(0, this.#untilMs(origin) - nowMs)));
    // On top, so that all who were told the same time do not come at that time.
    const waitMs = patienceMs + backoffMs(this.#rounds, random.fraction(), config.backoff);
    if (nowMs + waitMs < this.#giveUpAtMs) {
      this.#cancelTimer = clock.after(waitMs, () => this.#beginRound());
    } else if (this.#inFlight.size === 0) this.#giveUp();
  }

  get #urgency(): string {
    return this.#request.headers['urgency'] ?? 'normal';
  }

  /** Until when an origin asked not to be asked, monotonic milliseconds; 0 when it did not. */
  #untilMs(origin: string): number {
    return Math.max(this.#patience.get(origin) ?? 0, this.#with.patience.untilMs(origin, this.#urgency));
  }

  async #attempt(site: Site): Promise<void> {
    const { clock, config, hedgeBudget, onFailure, patience, transport } = this.#with;
    this.#attempts += 1;
    this.#inFlight.set(site.origin, clock.monotonicMs());
    let reason: string;
    try {
      const response = await transport.request(
        { ...this.#request, origin: site.origin },
        { timeoutMs: config.attemptTimeoutMs, signal: this.#stop.signal },
      );
      hedgeBudget.answered(site.origin, clock.monotonicMs());
      if (response.status === 201) {
        return this.#end.resolve({ kind: 'accepted', site, response, attempts: this.#attempts });
      }
      const code = problemCode(response.body);
      if (isFinal(response.status)) {
        return this.#end.resolve({ kind: 'refused', error: new RefusedError(response.status, code) });
      }
      const patienceMs = retryAfterMs(response.header('retry-after'), clock.wallMs());
      const untilMs = clock.monotonicMs() + Math.min(PATIENCE_MS_MAX, patienceMs);
      this.#patience.set(site.origin, untilMs);
      patience.asked(site.origin, this.#urgency, code, untilMs);
      reason = `${response.status} ${code}`.trimEnd();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (!(error instanceof TransportError)) return this.#end.reject(error);
      hedgeBudget.lost(site.origin);
      this.#unknown ||= error.mayHaveArrived;
      reason = error.fault;
    }
    this.#inFlight.delete(site.origin);
    if (this.#reasons.length < REASONS_MAX) this.#reasons.push(reason);
    onFailure(site);
    this.#attemptNext();
  }

  #giveUp(): void {
    if (this.#attempts === 0) this.#reasons.push('retry_after');
    const unanswered = Array.from(this.#inFlight.keys(), () => 'unanswered');
    this.#end.resolve({
      kind: 'gave_up',
      unknown: this.#unknown || unanswered.length > 0,
      attempts: this.#attempts,
      reasons: [...this.#reasons, ...unanswered],
    });
  }
}
