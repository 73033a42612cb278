/**
 * Sites that replicate inside one process on a clock that the test moves: real stores, real peer services, real
 * frames; only the wires are made here, so that they can be cut, can lose answers and can damage what they carry.
 */
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { COPIES_NEEDED } from '../../relay/core/copies.ts';
import type { MailboxTag } from '../../relay/core/mailbox.ts';
import {
  encodePeerFrame,
  FRAME_BYTES_MAX,
  type PeerReply,
  type PeerRequest,
  parsePeerFrame,
} from '../../relay/core/peer-frame.ts';
import { eachOf } from '../../relay/each-link.ts';
import { type MessageStore, type PeerLink, PeerUnreachable } from '../../relay/ports.ts';
import { createAcceptor } from '../../relay/replication/acceptor.ts';
import { createReplication, type Replication } from '../../relay/replication/replication.ts';
import type { Log } from '../../system/log.ts';
import { seededRandom } from '../../system/random.ts';
import { createFakeClock, type FakeClock } from './fake-clock.ts';
import { TEST_PEPPER } from './mailbox.ts';
import { testManifest } from './manifests.ts';
import { createRecordedEvents, type RecordedEvents } from './recorded-events.ts';

/** What a wire does with a request: `lose answers` still delivers it. */
type WireState = 'whole' | 'cut' | 'silent' | 'lose answers';

interface LinkedSite {
  readonly name: string;
  readonly replication: Replication;
  readonly store: MessageStore;
  readonly events: RecordedEvents;
  /** Types of the requests that arrived, in order. */
  readonly asked: PeerRequest['type'][];
  /** Mailboxes whose recipients are connected here, and what they were handed without its being stored. */
  readonly connected: Set<MailboxTag>;
  readonly delivered: readonly string[];
  /** The store loses everything, its epoch included, as a new disk has. */
  wipe(): void;
  /** A record is damaged on disk: whoever reads it finds nothing, until it is stored again. */
  damage(id: string): void;
  /** The store was away for a moment and answers again. */
  comeBack(): void;
  /** Its wall clock is ahead by so much, milliseconds, and the other sites' clocks tell it. */
  ahead(ms: number): void;
  /** The process ends: nothing of it runs or answers any more. Its store remains. */
  die(): Promise<void>;
  /** Ids of what a recipient would get, in order. */
  pending(mailbox: MailboxTag): Promise<readonly string[]>;
  /** Outbox entries, by the site they are owed to. */
  debts(): Promise<Readonly<Record<string, number>>>;
}

export interface LinkedSites {
  readonly clock: FakeClock;
  readonly deadlineMs: number;
  site(name: string): LinkedSite;
  /** Sets what the wires between two sites do, both ways. */
  between(one: string, other: string, state: WireState): void;
  /** Sets all wires of a site. */
  around(name: string, state: WireState): void;
  /** Bytes of all frames so far, and references that were listed in them. */
  readonly traffic: { readonly bytes: number; readonly listed: number };
  /** What happens to a request on its way; for damage. */
  onTheWay(change: ((request: PeerRequest) => PeerRequest) | undefined): void;
  /** What happens to a reply on its way back; for sites that do not answer by the rules. */
  onTheWayBack(change: ((reply: PeerReply) => PeerReply) | undefined): void;
  [Symbol.asyncDispose](): Promise<void>;
}

const DEADLINE_MS = 1000;
const GRACE_MS = 1000;
const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** `aws` and `aws-2` are two sites of the provider `aws`. All of them run, refill and drain. */
export function linkSites(names: readonly string[]): LinkedSites {
  const clock = createFakeClock();
  const manifest = testManifest(names);
  const wires = new Map<string, WireState>();
  const sites = new Map<string, LinkedSite & { readonly answers: Replication['service'] }>();
  const traffic = { bytes: 0, listed: 0 };
  let change: ((request: PeerRequest) => PeerRequest) | undefined;
  let changeBack: ((reply: PeerReply) => PeerReply) | undefined;
  const wire = (one: string, other: string): WireState =>
    wires.get([one, other].toSorted().join(' ')) ?? 'whole';

  const linkTo = (from: string, to: string): PeerLink => ({
    site: to,
    provider: to.split('-')[0] ?? to,
    isUp: () => wire(from, to) !== 'cut',
    call: async (request, timeoutMs) => {
      if (wire(from, to) === 'cut') throw new PeerUnreachable(`no link to ${to}`);
      const { promise, resolve, reject } = Promise.withResolvers<PeerReply>();
      const cancel = clock.after(timeoutMs, () => reject(new PeerUnreachable(`no answer from ${to}`)));
      const carry = async (): Promise<void> => {
        if (wire(from, to) === 'silent') return;
        const arrived = asRequest(throughFrame(change?.(request) ?? request, traffic));
        const target = sites.get(to);
        if (target === undefined) throw new Error(`no site ${to}`);
        target.asked.push(arrived.type);
        const answer = await target.answers(arrived, from);
        const reply = asReply(throughFrame(changeBack?.(answer) ?? answer, traffic));
        if (reply.type === 'page') traffic.listed += reply.references.length;
        if (wire(from, to) === 'whole') resolve(reply);
      };
      carry().catch(reject);
      try {
        return await promise;
      } finally {
        cancel();
      }
    },
  });

  for (const own of manifest.sites) {
    const stopping = new AbortController();
    const { store, wipe, damage, comeBack } = createWipeableStore();
    const events = createRecordedEvents();
    const connected = new Set<MailboxTag>();
    const delivered: string[] = [];
    let aheadMs = 0;
    const links = names.filter((name) => name !== own.name).map((name) => linkTo(own.name, name));
    const replication = createReplication(
      {
        manifest,
        own,
        pepper: TEST_PEPPER,
        copiesNeeded: COPIES_NEEDED,
        deadlineMs: DEADLINE_MS,
        outboxGraceMs: GRACE_MS,
        createAcceptor,
      },
      {
        store,
        links,
        eachLink: eachOf(links),
        expiryWallMs: () => clock.wallMs(),
        deliverNow: (message) => {
          if (!connected.has(message.mailbox)) return false;
          delivered.push(message.id);
          return true;
        },
        clock: { ...clock, wallMs: () => clock.wallMs() + aheadMs },
        random: seededRandom(names.indexOf(own.name)),
        events,
        log: silent,
      },
    );
    const running = replication.run(stopping.signal);
    const stop = async (): Promise<void> => {
      if (!stopping.signal.aborted) stopping.abort(new Error('stopped'));
      await clock.settle();
      await running;
    };
    sites.set(own.name, {
      name: own.name,
      replication,
      answers: replication.service,
      store,
      events,
      asked: [],
      connected,
      delivered,
      wipe,
      damage,
      comeBack,
      ahead: (ms) => {
        aheadMs = ms;
      },
      die: async () => {
        for (const name of names) wires.set([own.name, name].toSorted().join(' '), 'cut');
        await stop();
      },
      pending: async (mailbox) => (await store.pending(mailbox, 1000, clock.wallMs())).map(({ id }) => id),
      debts: async () => {
        const debts = await store.debts(names.filter((name) => name !== own.name));
        return Object.fromEntries([...debts].map(([site, { count }]) => [site, count]));
      },
    });
  }
  const site = (name: string): LinkedSite => {
    const found = sites.get(name);
    if (found === undefined) throw new Error(`no site ${name}`);
    return found;
  };
  return {
    clock,
    deadlineMs: DEADLINE_MS,
    site,
    between: (one, other, state) => wires.set([one, other].toSorted().join(' '), state),
    around: (name, state) => {
      for (const other of names) wires.set([name, other].toSorted().join(' '), state);
    },
    traffic,
    onTheWay: (next) => {
      change = next;
    },
    onTheWayBack: (next) => {
      changeBack = next;
    },
    [Symbol.asyncDispose]: async () => {
      for (const name of names) await site(name).die();
    },
  };
}

function throughFrame(body: PeerRequest | PeerReply, traffic: { bytes: number }): PeerRequest | PeerReply {
  const frame = encodePeerFrame(1, body);
  traffic.bytes += frame.length;
  if (frame.length - 4 > FRAME_BYTES_MAX) throw new PeerUnreachable('the frame ended the connection');
  const parsed = parsePeerFrame(frame.subarray(4));
  if (!parsed.ok) throw new PeerUnreachable('a malformed frame ended the connection');
  return parsed.value.body;
}

const REQUESTS: ReadonlySet<string> = new Set([
  'put',
  'bury',
  'held',
  'list',
  'pull',
  'buried',
  'totals',
  'digests',
  'waiting',
  'ping',
]);

function asRequest(body: PeerRequest | PeerReply): PeerRequest {
  if (!REQUESTS.has(body.type)) throw new Error('a reply where a request belongs');
  return body as PeerRequest;
}

function asReply(body: PeerRequest | PeerReply): PeerReply {
  if (REQUESTS.has(body.type)) throw new Error('a request where a reply belongs');
  return body as PeerReply;
}

/** A memory store that can be replaced by an empty one under the feet of those who use it. */
function createWipeableStore(): {
  readonly store: MessageStore;
  readonly wipe: () => void;
  readonly damage: (id: string) => void;
  readonly comeBack: () => void;
} {
  let inner = createMemoryStore();
  const damaged = new Set<string>();
  const isWhole = ({ id }: { readonly id: string }): boolean => !damaged.has(id);
  const damageListeners: (() => void)[] = [];
  const returnListeners: (() => void)[] = [];
  /** What a store does that finds damage: it forgets and reports. */
  const find = (ids: readonly string[]): void => {
    for (const id of ids) if (damaged.has(id)) for (const listener of damageListeners) listener();
  };
  const listeners: ((mailbox: MailboxTag) => void)[] = [];
  const listen = (): void =>
    inner.onChange(
      (tag) => {
        for (const listener of listeners) listener(tag);
      },
      () => true,
    );
  listen();
  return {
    wipe: () => {
      inner = createMemoryStore();
      listen();
    },
    damage: (id) => void damaged.add(id),
    comeBack: () => {
      for (const listener of returnListeners) listener();
    },
    store: {
      durable: false,
      insert: async (insertions, nowMs) => {
        const outcomes = await inner.insert(insertions, nowMs);
        return outcomes.map((outcome, index) => {
          const isRepaired = damaged.delete(insertions[index]?.message.id ?? '');
          return isRepaired && outcome === 'duplicate' ? 'stored' : outcome;
        });
      },
      bury: (burials, nowMs) => inner.bury(burials, nowMs),
      pending: async (mailbox, limit, nowMs) => {
        const found = await inner.pending(mailbox, limit, nowMs);
        find(found.map(({ id }) => id));
        return found.filter(isWhole);
      },
      load: async (references) => {
        find(references.map(({ id }) => id));
        return (await inner.load(references)).map((thing) =>
          thing !== undefined && isWhole(thing) ? thing : undefined,
        );
      },
      missing: async (references) => {
        const missing = await inner.missing(references);
        return references.filter((reference) => missing.includes(reference) || !isWhole(reference));
      },
      buriedBy: (messages) => inner.buriedBy(messages),
      indexed: (messages) => inner.indexed(messages),
      list: (partition, cursor, limit) => inner.list(partition, cursor, limit),
      owed: (site, beforeMs, limit) => inner.owed(site, beforeMs, limit),
      settle: (settlements) => inner.settle(settlements),
      debts: (sites) => inner.debts(sites),
      expire: (nowMs, limit) => inner.expire(nowMs, limit),
      usage: (mailbox) => inner.usage(mailbox),
      fullness: () => inner.fullness(),
      readEpoch: () => inner.readEpoch(),
      replaceEpoch: (expected, next) => inner.replaceEpoch(expected, next),
      ping: () => inner.ping(),
      onChange: (listener) => void listeners.push(listener),
      pass: (message) => inner.pass(message),
      onPassed: (listener) => inner.onPassed(listener),
      onDamage: (listener) => void damageListeners.push(listener),
      onReturn: (listener) => void returnListeners.push(listener),
      onOutboxFull: (listener) => inner.onOutboxFull(listener),
      digest: async (partitions, fromMs) => {
        const digests = await inner.digest(partitions, fromMs);
        // What was damaged and found no longer counts, so the digest is another one.
        return digests.map((digest) => (damaged.size === 0 ? digest : digest?.map((sum) => sum + 1n)));
      },
      verify: (partition, cursor, limit) => inner.verify(partition, cursor, limit),
      close: () => inner.close(),
    },
  };
}
