/**
 * Keeps a number of sockets open, each at another provider: when one ends, another is opened elsewhere after a wait
 * with full jitter, so that the crowd that lost the same site does not arrive at the next one all at once. Where no
 * WebSocket gets through, long-polls take their place until one does.
 */
import { type BackoffConfig, backoffMs } from '../system/backoff.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { type Blockage, createBlockage } from './blockage.ts';
import { ProtocolError, TransportError } from './errors.ts';
import { type Fleet, fetchInfo, SITES_MAX, type Site } from './fleet.ts';
import type { MessageFrame } from './frames.ts';
import type { Link, LinkEnd } from './link.ts';
import { LongPoll } from './long-poll.ts';
import type { Mailbox } from './mailbox.ts';
import { createRoster, type Roster } from './roster.ts';
import { Session } from './session.ts';
import { isWelcomed } from './socket-trial.ts';
import type { Transport } from './transport.ts';

export interface WarmSocketsOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly fleet: Fleet;
  readonly mailboxes: readonly Mailbox[];
  readonly preferredProvider: string | undefined;
  readonly warm: number;
  readonly window: number;
  /** From dialling to ready, in milliseconds. */
  readonly openWithinMs: number;
  readonly backoff: BackoffConfig;
  /** While long-polls stand in: how long until a WebSocket is tried again. */
  readonly socketRetry: BackoffConfig;
  readonly onReady: (link: Link) => void;
  readonly onMessage: (link: Link, frame: MessageFrame) => void;
  readonly onEmpty: (link: Link, mailbox: number) => void;
  readonly onEnd: (site: Site, end: LinkEnd) => void;
}

/** A socket that was ready for so long had a good life, milliseconds: its end is a first failure, not one more. */
const STABLE_MS = 10_000;
/** While another socket is ready there is no hurry: the wait is drawn from at least so much, milliseconds. */
const CALM_BASE_MS = 1000;
const INFO_TIMEOUT_MS = 2000;

export class WarmSockets {
  readonly #options: WarmSocketsOptions;
  readonly #links: Set<Link> = new Set();
  readonly #blockage: Blockage = createBlockage();
  /** How far each site's clock is ahead of ours, milliseconds; learnt when it refuses a token. */
  readonly #skewMs: Map<string, number> = new Map();
  /** Wakes those who wait for a fleet with more providers. */
  readonly #waiting: Set<() => void> = new Set();
  #fleet: Fleet;
  #roster: Roster;

  constructor(options: WarmSocketsOptions) {
    this.#options = options;
    this.#fleet = options.fleet;
    this.#roster = createRoster(options.fleet.sites, options.random, options.preferredProvider);
  }

  /** Sockets to keep: never two at one provider, so never more than there are providers. */
  get warm(): number {
    return Math.min(this.#options.warm, this.#providers);
  }

  get #providers(): number {
    return new Set(this.#fleet.sites.map(({ provider }) => provider)).size;
  }

  readyLinks(): readonly Link[] {
    return [...this.#links].filter((link) => link.isReady);
  }

  useFleet(fleet: Fleet): void {
    this.#fleet = fleet;
    this.#roster = createRoster(fleet.sites, this.#options.random, this.#options.preferredProvider);
    const origins = new Set(fleet.sites.map(({ origin }) => origin));
    for (const link of this.#links) if (!origins.has(link.site.origin)) link.end('stopped');
    for (const wake of this.#waiting) wake();
  }

  /** Runs until the signal aborts, and resolves when all sockets have ended. Rejects only for a caller's bug. */
  async run(signal: AbortSignal): Promise<void> {
    const places = Math.min(this.#options.warm, SITES_MAX);
    await Promise.all(Array.from({ length: places }, (_, place) => this.#keepOne(place, signal)));
  }

  async #keepOne(place: number, signal: AbortSignal): Promise<void> {
    const { backoff, clock, onEnd, random } = this.#options;
    let failures = 0;
    let window = this.#options.window;
    let hint: readonly string[] = [];
    let hintedMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      if (place >= this.warm) {
        await this.#otherFleet(signal);
        continue;
      }
      const site = this.#choose(hint);
      hint = [];
      if (site !== undefined) {
        const { end, readyForMs, alternates } = await this.#hold(site, window, signal);
        onEnd(site, end);
        if (signal.aborted) return;
        if (end === 'socket_again') continue;
        this.#roster.failed(site, clock.monotonicMs());
        if (end === 'too_slow') window = Math.max(1, Math.floor(window / 2));
        if (end === 'token_refused') await this.#learnClock(site);
        if (readyForMs >= STABLE_MS) failures = 0;
        failures += end === 'overloaded' ? 2 : 1;
        // The relay has spread its recipients over time, so there is nothing left to wait for. Only once in a while:
        // relays that all want to be rid of us must not send us round in circles.
        if (end === 'draining' && alternates !== undefined && clock.monotonicMs() - hintedMs >= STABLE_MS) {
          hintedMs = clock.monotonicMs();
          hint = alternates;
          failures = 0;
          continue;
        }
      }
      const isCalm = site === undefined || this.readyLinks().length > 0;
      const baseMs = isCalm ? Math.max(CALM_BASE_MS, backoff.baseMs) : backoff.baseMs;
      const waitMs = backoffMs(failures, random.fraction(), {
        baseMs,
        maxMs: Math.max(baseMs, backoff.maxMs),
      });
      // Only the signal ends this early, and the loop looks at it.
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** Resolves when there is another fleet, which may have more providers, and when the signal aborts. */
  async #otherFleet(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    await promise;
    signal.removeEventListener('abort', wake);
    this.#waiting.delete(wake);
  }

  /** The best site of a provider at which there is no socket yet; one that is hinted at before the others. */
  #choose(hint: readonly string[]): Site | undefined {
    const taken = new Set([...this.#links].map(({ site }) => site.provider));
    const free = this.#roster.order().filter(({ provider }) => !taken.has(provider));
    return free.find(({ origin }) => hint.includes(origin)) ?? free[0];
  }

  /** Opens a link and waits for its end. */
  async #hold(
    site: Site,
    window: number,
    signal: AbortSignal,
  ): Promise<{
    readonly end: LinkEnd;
    readonly readyForMs: number;
    readonly alternates: readonly string[] | undefined;
  }> {
    const { clock } = this.#options;
    const over = new AbortController();
    let readyMs: number | undefined;
    const link = this.#open(site, window, (ready) => {
      readyMs = clock.monotonicMs();
      this.#roster.succeeded(site);
      this.#options.onReady(ready);
      if (ready.kind === 'poll') void this.#trySockets(site, over.signal);
    });
    const stop = (): void => link.end('stopped');
    this.#links.add(link);
    signal.addEventListener('abort', stop, { once: true });
    try {
      const end = await link.ended;
      const readyForMs = readyMs === undefined ? 0 : clock.monotonicMs() - readyMs;
      if (link.kind === 'poll' && readyMs === undefined) this.#pollFailed();
      return { end, readyForMs, alternates: link.alternates };
    } finally {
      over.abort(new Error('over'));
      signal.removeEventListener('abort', stop);
      this.#links.delete(link);
    }
  }

  #open(site: Site, window: number, onReady: (link: Link) => void): Link {
    const { clock, mailboxes, onEmpty, onMessage, openWithinMs, transport } = this.#options;
    const nowSeconds = (): number =>
      Math.floor((clock.wallMs() + (this.#skewMs.get(site.origin) ?? 0)) / 1000);
    const common = { transport, clock, site, mailboxes, window, openWithinMs, nowSeconds };
    const options = { ...common, onReady, onMessage, onEmpty };
    if (this.#blockage.isSuspected(this.#providers)) return new LongPoll(options);
    let isWelcome = false;
    const session = new Session({
      ...options,
      onWelcome: () => {
        isWelcome = true;
        this.#socketsWork();
      },
    });
    const note = (end: LinkEnd): void => {
      if (!isWelcome && (end === 'unreachable' || end === 'open_timeout')) {
        this.#blockage.silenced(site.provider);
      }
    };
    session.ended.then(note, () => undefined);
    return session;
  }

  /** The network or the site is gone, unless another long-poll works. */
  #pollFailed(): void {
    if (!this.readyLinks().some(({ kind }) => kind === 'poll')) this.#blockage.clear();
  }

  #socketsWork(): void {
    this.#blockage.clear();
    for (const link of this.#links) if (link.kind === 'poll') link.end('socket_again');
  }

  /** While a long-poll stands in: at once, since the network may just have come back, then ever less often. */
  async #trySockets(site: Site, signal: AbortSignal): Promise<void> {
    const { clock, openWithinMs, random, socketRetry, transport } = this.#options;
    for (let trials = 1; !signal.aborted; trials += 1) {
      if (await isWelcomed(transport, clock, site.origin, openWithinMs, signal)) return this.#socketsWork();
      const waitMs = backoffMs(trials, random.fraction(), socketRetry);
      // Only the signal ends this early, and the loop looks at it.
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /**
   * A refused token usually means that our clock is wrong. Believing the site about the time is harmless: a token
   * made with it is good at that site only.
   */
  async #learnClock(site: Site): Promise<void> {
    try {
      const { timeMs } = await fetchInfo(this.#options.transport, site.origin, {
        timeoutMs: INFO_TIMEOUT_MS,
      });
      this.#skewMs.set(site.origin, timeMs - this.#options.clock.wallMs());
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof ProtocolError)) throw error;
    }
  }
}
