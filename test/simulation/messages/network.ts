/**
 * The network between sites: every frame takes its own time, may be lost, come twice or out of order, and each
 * direction between two sites can be cut by itself. That is worse than TCP, whose connections the relays use; a
 * protocol that bears it frame by frame bears a connection that stalls or breaks.
 */
import { Duplex } from 'node:stream';
import type { Random } from '../../../system/random.ts';
import { between, type Stage } from './stage.ts';

/** How bad the network is, for all frames of a run. */
export interface Weather {
  readonly latencyMs: readonly [min: number, max: number];
  readonly lossChance: number;
  readonly doubleChance: number;
  /** Frames of one direction keep their order. */
  readonly isOrdered: boolean;
}

/** Where connections arrive. */
interface Host {
  readonly site: string;
  /** Whether the machine runs: a connection to one that does not is never refused, it just hears nothing. */
  readonly isOn: () => boolean;
  /** Takes a connection from another site; false when no process listens. */
  accept(connection: Duplex, from: string): boolean;
}

export interface Network {
  attach(host: Host): void;
  /** Rejects when nobody listens there, or after `timeoutMs`. */
  connect(from: string, to: string, timeoutMs: number): Promise<Duplex>;
  /** Cuts one direction; the returned function mends it, unless it was cut again. */
  cut(from: string, to: string): () => void;
  /** Mends every direction. */
  mend(): void;
  /** Whether anything sent now would pass, losses aside. */
  isOpen(from: string, to: string): boolean;
  /** When a frame was last lost on this way, by chance or because it was cut. */
  readonly lostMs: (from: string, to: string) => number;
  latencyMs(): number;
  /** From now on nothing is lost, doubled or reordered. */
  calm(): void;
}

/** Makes a network without hosts. */
export function createNetwork(stage: Stage, random: Random, weather: Weather): Network {
  const { time } = stage;
  const hosts = new Map<string, Host>();
  const cuts = new Map<string, number>();
  let cutCount = 0;
  let isCalm = false;
  const latencyMs = (): number => between(random, ...weather.latencyMs);
  const isOpen = (from: string, to: string): boolean => !cuts.has(`${from} ${to}`);
  const losses = new Map<string, number>();
  const noteLoss = (from: string, to: string): void => void losses.set(`${from} ${to}`, time.nowMs());

  /** Carries what `from` says to `to`, if it arrives at all. */
  const carry = (from: string, to: string, notBeforeMs: number, deliver: () => void): number => {
    if (!isOpen(from, to)) {
      noteLoss(from, to);
      return notBeforeMs;
    }
    if (!isCalm && random.fraction() < weather.lossChance) {
      stage.count('frames lost');
      noteLoss(from, to);
      return notBeforeMs;
    }
    const isDouble = !isCalm && random.fraction() < weather.doubleChance;
    const arrivesMs = time.nowMs() + latencyMs();
    const atMs = weather.isOrdered || isCalm ? Math.max(arrivesMs, notBeforeMs) : arrivesMs;
    if (atMs < notBeforeMs) stage.count('frames out of order');
    const arrive = (): void => {
      if (isOpen(from, to)) deliver();
      else noteLoss(from, to);
    };
    time.after(atMs - time.nowMs(), arrive);
    if (isDouble) {
      stage.count('frames doubled');
      time.after(atMs - time.nowMs() + 10 * latencyMs(), arrive);
    }
    return atMs;
  };

  const connectionPair = (from: string, to: string): readonly [Duplex, Duplex] => {
    const ends: Duplex[] = [];
    const end = (at: number, here: string, there: string): Duplex => {
      let lastMs = 0;
      return new Duplex({
        read: () => undefined,
        write: (chunk: Buffer, _, done) => {
          lastMs = carry(here, there, lastMs, () => {
            const other = ends[1 - at];
            if (other !== undefined && !other.destroyed) other.push(chunk);
          });
          done();
        },
        destroy: (_, done) => {
          carry(here, there, lastMs, () => {
            // A machine that is off says nothing.
            if (hosts.get(here)?.isOn() === true) ends[1 - at]?.destroy();
          });
          done(null);
        },
      });
    };
    const pair = [end(0, from, to), end(1, to, from)] as const;
    ends.push(...pair);
    for (const each of pair) each.on('error', () => undefined);
    return pair;
  };

  return {
    attach: (host) => void hosts.set(host.site, host),
    connect: async (from, to, timeoutMs) => {
      const host = hosts.get(to);
      const roundMs = 2 * latencyMs();
      const arrives = isOpen(from, to) && isOpen(to, from) && host !== undefined && host.isOn();
      if (!arrives || roundMs > timeoutMs) {
        await time.sleep(timeoutMs);
        throw new Error(`no connection within ${timeoutMs} ms`);
      }
      await time.sleep(roundMs);
      const [near, far] = connectionPair(from, to);
      if (!host.accept(far, from)) {
        near.destroy();
        throw new Error('connection refused');
      }
      return near;
    },
    cut: (from, to) => {
      const way = `${from} ${to}`;
      cutCount += 1;
      const mine = cutCount;
      cuts.set(way, mine);
      return () => {
        if (cuts.get(way) === mine) cuts.delete(way);
      };
    },
    mend: () => cuts.clear(),
    lostMs: (from, to) => losses.get(`${from} ${to}`) ?? Number.NEGATIVE_INFINITY,
    isOpen,
    latencyMs,
    calm: () => {
      isCalm = true;
    },
  };
}
