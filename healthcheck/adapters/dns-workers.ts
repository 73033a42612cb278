/**
 * The threads that answer DNS over UDP, from the main thread's side: it opens their sockets, gives them every new zone,
 * reads what they counted, and starts another one in place of one that ended.
 *
 * Either side watches the other. A thread that hangs is ended and replaced. When this one hangs, nobody looks, votes or
 * decides any more, and threads that went on would give out the last answer for ever: they end the process (dns-worker.ts).
 *
 * Each has a socket of its own at the same endpoint, and the kernel spreads clients over them by address and port. The
 * sockets belong to the main thread: what arrives for a thread that has ended waits for the next one.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Clock } from '../../system/clock.ts';
import type { Endpoint } from '../../system/settings.ts';
import type { CompiledZone } from '../dns/compile.ts';
import type { CookieSecrets } from '../dns/cookie.ts';
import type { Door } from '../dns/door.ts';
import { RCODES, type Rcode } from '../dns/message.ts';
import type { RateLimitOptions } from '../dns/rate-limit.ts';
import type { TransferZone } from '../dns/transfer-zone.ts';
import type { TsigKey } from '../dns/tsig.ts';
import { closeDatagrams, openDatagrams } from './datagrams.ts';
import { createWatch, turn } from './heartbeat.ts';

/** What a thread is told; `news` in its data counts how often. */
export type News =
  | { readonly kind: 'zone'; readonly zone: CompiledZone | undefined }
  | { readonly kind: 'transfer'; readonly zone: TransferZone }
  | { readonly kind: 'secrets'; readonly secrets: CookieSecrets }
  | { readonly kind: 'stop' };

/** What a thread begins with. */
export interface DnsWorkerData {
  readonly fd: number;
  readonly port: MessagePort;
  /** One word, which changes with everything that is sent to the port. */
  readonly news: Int32Array;
  /** One word for each of `COUNTED`, written by the thread. */
  readonly counts: Int32Array;
  /** One word, which the thread changes with each of its turns. */
  readonly turns: Int32Array;
  /** One word, which the main thread changes twice a second. */
  readonly beat: Int32Array;
  /** For how long either may not have turned before the other ends it, milliseconds. */
  readonly silenceMsMax: number;
  readonly secrets: CookieSecrets;
  /** Over memory that all threads share, so that a network has one budget and not one with each; undefined: none. */
  readonly rateLimit: RateLimitOptions | undefined;
  readonly transferKeys: readonly TsigKey[];
  readonly serverId: Uint8Array;
  readonly firstTurn: number;
}

type Discarded =
  | Extract<ReturnType<Door>, { kind: 'discarded' }>['reason']
  | 'source_port_zero'
  | 'send_failed';
const DISCARDED: readonly Discarded[] = [
  'too_short',
  'not_a_query',
  'over_budget',
  'source_port_zero',
  'send_failed',
];

export interface Tally {
  replied(rcode: Rcode): void;
  discarded(reason: Discarded): void;
}

/** Counts into shared words; for the one thread that they belong to. */
export function createTally(counts: Int32Array): Tally {
  const rcodeAt = new Map(RCODES.map((rcode, index) => [rcode, index]));
  const discardAt = new Map(DISCARDED.map((reason, index) => [reason, RCODES.length + index]));
  const count = (at: number | undefined): void => {
    if (at !== undefined) counts[at] = (counts[at] ?? 0) + 1;
  };
  return {
    replied: (rcode) => count(rcodeAt.get(rcode)),
    discarded: (reason) => count(discardAt.get(reason)),
  };
}

export interface DnsWorkersOptions
  extends Pick<DnsWorkerData, 'rateLimit' | 'transferKeys' | 'serverId' | 'silenceMsMax'> {
  readonly threads: number;
  readonly secrets: CookieSecrets;
  readonly firstTurn: () => number;
  readonly clock: Clock;
  readonly replied: (rcode: Rcode, count: number) => void;
  readonly discarded: (reason: Discarded, count: number) => void;
  /** A thread ended that nobody ended; another one takes its place. */
  readonly ended: (why: string) => void;
}

export interface DnsWorkers {
  /** Opens the sockets and starts the threads; resolves once all of them answer. Rejects with a ListenError. */
  open(endpoint: Endpoint): Promise<{ close(): Promise<void> }>;
  /** Every thread serves this from now on, and so does one that is started later. */
  tell(news: Exclude<News, { kind: 'stop' }>): void;
}

const COUNTED_EVERY_MS = 500;
const RESTARTED_AFTER_MS = 1000;

/** Threads that nobody has started yet. */
export function createDnsWorkers(options: DnsWorkersOptions): DnsWorkers {
  const latest = new Map<News['kind'], News>([['secrets', { kind: 'secrets', secrets: options.secrets }]]);
  let threads: readonly Thread[] = [];
  return {
    tell: (news) => {
      latest.set(news.kind, news);
      for (const thread of threads) thread.tell(news);
    },
    open: async (endpoint) => {
      const fds: number[] = [];
      try {
        for (let index = 0; index < options.threads; index += 1) {
          fds.push(openDatagrams(endpoint, options.threads > 1));
        }
      } catch (error) {
        for (const fd of fds) closeDatagrams(fd);
        throw error;
      }
      threads = fds.map((fd) => createThread(fd, latest, options));
      await Promise.all(threads.map(async (thread) => thread.started));
      return {
        close: async () => {
          await Promise.all(threads.map(async (thread) => thread.stop()));
          for (const fd of fds) closeDatagrams(fd);
        },
      };
    },
  };
}

interface Thread {
  readonly started: Promise<void>;
  tell(news: News): void;
  stop(): Promise<void>;
}

/** What stays when one thread ends and another takes its place. */
interface Place extends Pick<DnsWorkerData, 'fd' | 'news' | 'counts' | 'turns' | 'beat'> {
  readonly latest: ReadonlyMap<News['kind'], News>;
}

function createThread(fd: number, latest: Place['latest'], options: DnsWorkersOptions): Thread {
  const { clock, ended } = options;
  const place = {
    fd,
    latest,
    news: sharedWords(1),
    counts: sharedWords(RCODES.length + DISCARDED.length),
    turns: sharedWords(1),
    beat: sharedWords(1),
  };
  turn(place.beat);
  const counted = reader(place.counts, options);
  let isStopping = false;
  let cancelRestart: (() => void) | undefined;
  let cancelCount: (() => void) | undefined;
  const exited = (why: string): void => {
    if (isStopping) return;
    ended(why);
    cancelRestart = clock.after(RESTARTED_AFTER_MS, () => {
      Atomics.store(place.turns, 0, 0);
      running = run(place, options, exited);
      watch = createWatch(place.turns, clock.monotonicMs());
    });
  };
  let running = run(place, options, exited);
  let watch = createWatch(place.turns, clock.monotonicMs());
  const tell = (news: News): void => {
    running.port.postMessage(news, []);
    wake(place);
  };
  const countLater = (): void => {
    cancelCount = clock.after(COUNTED_EVERY_MS, () => {
      counted();
      turn(place.beat);
      if (watch.look(clock.monotonicMs()) > options.silenceMsMax) running.end('it hung');
      countLater();
    });
  };
  countLater();
  return {
    started: running.started,
    tell,
    stop: async () => {
      isStopping = true;
      cancelRestart?.();
      cancelCount?.();
      tell({ kind: 'stop' });
      await running.exited;
      counted();
    },
  };
}

interface Running {
  readonly port: MessagePort;
  /** Ends it in the middle of what it does. */
  end(why: string): void;
  /** Resolves also when it never starts. */
  readonly started: Promise<void>;
  readonly exited: Promise<void>;
}

/** Starts a thread, with the latest news waiting for it; `exited` hears why it ended, whoever ended it. */
function run(place: Place, options: DnsWorkersOptions, exited: (why: string) => void): Running {
  const { firstTurn, rateLimit, secrets, serverId, silenceMsMax, transferKeys } = options;
  const { latest, ...kept } = place;
  const { port1, port2 } = new MessageChannel();
  const workerData: DnsWorkerData = {
    ...kept,
    port: port2,
    secrets,
    rateLimit,
    transferKeys,
    serverId,
    silenceMsMax,
    firstTurn: firstTurn(),
  };
  const worker = new Worker(new URL('dns-worker.ts', import.meta.url), { workerData, transferList: [port2] });
  for (const news of latest.values()) port1.postMessage(news, []);
  wake(place);
  const online = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  let why = 'it ended';
  worker.once('online', () => online.resolve());
  worker.once('error', (error) => {
    why = error instanceof Error ? error.message : String(error);
  });
  worker.once('exit', () => {
    port1.close();
    online.resolve();
    gone.resolve();
    exited(why);
  });
  const end = (because: string): void => {
    why = because;
    void worker.terminate();
  };
  return { port: port1, end, started: online.promise, exited: gone.promise };
}

/** The thread looks at its port when this word has changed. */
function wake({ news }: Pick<Place, 'news'>): void {
  Atomics.add(news, 0, 1);
  Atomics.notify(news, 0);
}

function sharedWords(count: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT));
}

/** Tells what was counted since the last time; words that ran over come out right. */
function reader(counts: Int32Array, { replied, discarded }: DnsWorkersOptions): () => void {
  const before = new Int32Array(counts.length);
  const since = (at: number): number => {
    const now = Atomics.load(counts, at);
    const count = (now - (before[at] ?? 0)) >>> 0;
    before[at] = now;
    return count;
  };
  return () => {
    RCODES.forEach((rcode, index) => {
      const count = since(index);
      if (count > 0) replied(rcode, count);
    });
    DISCARDED.forEach((reason, index) => {
      const count = since(RCODES.length + index);
      if (count > 0) discarded(reason, count);
    });
  };
}
