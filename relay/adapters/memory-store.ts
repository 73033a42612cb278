/**
 * The message store of a laptop, of tests and of the simulator: plain maps, no clock, no chance, so the same calls
 * give the same answers every time. It keeps the promises of the Redis store except one: nothing of it survives
 * the process.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { type SignedAck, TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import { type Digest, emptyDigest, sliceOf, weightOf } from '../core/digest.ts';
import { type MailboxTag, partitionOf } from '../core/mailbox.ts';
import { isSameContent, type Message } from '../core/message.ts';
import {
  type Asked,
  type InsertOutcome,
  type Listed,
  type Reference,
  referenceTo,
} from '../core/reference.ts';
import {
  type Burial,
  type Debt,
  type Epoch,
  type Insertion,
  type MailboxUsage,
  type MessageStore,
  OUTBOX_ENTRIES_MAX,
  type Settlement,
} from '../ports.ts';
import {
  createShelves,
  type Dated,
  type Held,
  keyOf,
  type Mailbox,
  mailboxIn,
  type Shelf,
  type Shelves,
} from './memory-shelves.ts';

/** Records beyond this are more than a laptop should hold. */
const BYTES_MAX = 512 * 1024 * 1024;

/** Makes an empty store. It is not durable. */
export function createMemoryStore(): MessageStore {
  const shelves = createShelves();
  const { assertOpen, held, rotation } = shelves;
  const listeners: ((mailbox: MailboxTag) => void)[] = [];
  const fullListeners: ((count: number) => void)[] = [];
  let epoch: Epoch | undefined;
  const onFull = (): void => fullListeners.forEach((listener) => listener(1));

  const wake = (changed: ReadonlySet<MailboxTag>): void => {
    queueMicrotask(() => {
      for (const mailbox of changed) for (const listener of listeners) listener(mailbox);
    });
  };

  return {
    durable: false,
    insert: async (insertions, nowMs) => {
      assertOpen();
      const changed = new Set<MailboxTag>();
      const outcomes = insertions.map((insertion) => {
        const { mailbox } = insertion.message;
        const outcome = insertInto(shelves.shelfOf(partitionOf(mailbox)), insertion, nowMs, onFull);
        if (outcome === 'stored') changed.add(mailbox);
        return outcome;
      });
      wake(changed);
      return outcomes;
    },
    bury: async (burials, nowMs) => {
      assertOpen();
      const changed = new Set<MailboxTag>();
      const outcomes = burials.map((burial) => {
        const { mailbox } = burial.ack;
        const isNew = buryIn(shelves.shelfOf(partitionOf(mailbox)), burial, nowMs, onFull);
        if (isNew) changed.add(mailbox);
        return isNew;
      });
      wake(changed);
      return outcomes;
    },
    pending: async (mailbox, limit, nowMs) => {
      const order = held(partitionOf(mailbox))?.mailboxes.get(mailbox)?.order ?? [];
      return order.filter(({ expiresMs }) => expiresMs > nowMs).slice(0, limit);
    },
    ...QUIET,
    ...readingOf(held),
    owed: async (site, beforeMs, limit) => owedBy(rotation(), site, beforeMs, limit),
    settle: async (settlements) => {
      for (const settlement of settlements) settle(held, settlement);
    },
    debts: async (sites) => new Map(sites.map((site) => [site, debtTo(site, rotation())])),
    expire: async (nowMs, limit) => sweep(rotation(), nowMs, limit),
    usage: async (tag) => usageOf(held(partitionOf(tag)), tag),
    fullness: async () => bytesIn(rotation()) / BYTES_MAX,
    readEpoch: async () => {
      assertOpen();
      return epoch;
    },
    replaceEpoch: async (expected, next) => {
      assertOpen();
      if (epoch?.id !== expected?.id) return false;
      epoch = next;
      return true;
    },
    ping: async () => assertOpen(),
    onChange: (listener) => void listeners.push(listener),
    onOutboxFull: (listener) => void fullListeners.push(listener),
    close: async () => shelves.close(),
  };
}

/** There is no other relay at this store, and no disk. */
const QUIET: Pick<MessageStore, 'pass' | 'onPassed' | 'onDamage' | 'onReturn'> = {
  onDamage: () => undefined,
  onReturn: () => undefined,
  pass: () => Promise.resolve(),
  onPassed: () => undefined,
};

function readingOf(
  held: Shelves['held'],
): Pick<MessageStore, 'load' | 'missing' | 'buriedBy' | 'indexed' | 'list' | 'digest' | 'verify'> {
  return {
    load: async (references) =>
      references.map((reference) => find(held(partitionOf(reference.mailbox)), reference)),
    missing: async (references) =>
      references.filter((reference) => isMissing(held(partitionOf(reference.mailbox)), reference)),
    buriedBy: async (messages) =>
      messages.map(({ mailbox, id }) => {
        const ack = held(partitionOf(mailbox))?.mailboxes.get(mailbox)?.tombstones.get(id);
        return ack === undefined ? undefined : { kind: 'ack', mailbox, id: ack };
      }),
    indexed: async (messages) =>
      messages.map((message) => find(held(partitionOf(message.mailbox)), message) !== undefined),
    list: async (partition, cursor, limit) => pageOf(held(partition), cursor, limit),
    digest: async (partitions, fromMs) => partitions.map((partition) => digestOf(held(partition), fromMs)),
    // Nothing is damaged here.
    verify: async (partition, cursor, limit) => {
      const page = pageOf(held(partition), cursor, limit);
      return { checked: page.references.length, cursor: page.cursor };
    },
  };
}

function find(shelf: Shelf | undefined, reference: Reference): Message | SignedAck | undefined {
  if (reference.kind === 'ack') return shelf?.acks.get(keyOf(reference));
  return shelf?.mailboxes.get(reference.mailbox)?.byId.get(reference.id);
}

function isMissing(shelf: Shelf | undefined, reference: Asked): boolean {
  const untilMs = shelf?.expiries.get(keyOf(reference))?.atMs ?? 0;
  const livesElsewhereMs = reference.kind === 'message' ? (reference.untilMs ?? 0) : 0;
  if (find(shelf, reference) !== undefined && untilMs >= livesElsewhereMs) return false;
  const tombstones = shelf?.mailboxes.get(reference.mailbox)?.tombstones;
  return reference.kind === 'ack' || tombstones?.has(reference.id) !== true;
}

function pageOf(
  shelf: Shelf | undefined,
  cursor: string,
  limit: number,
): { readonly references: readonly Listed[]; readonly cursor: string } {
  const entries = shelf?.expiries ?? new Map<string, Held>();
  const keys = [...entries.keys()].filter((key) => key > cursor).sort();
  const page = keys.slice(0, Math.max(1, limit));
  const references = page.flatMap((key) => {
    const entry = entries.get(key);
    return entry === undefined ? [] : [{ ...entry.reference, untilMs: entry.atMs }];
  });
  return { references, cursor: page.length < keys.length ? (page.at(-1) ?? '') : '' };
}

function digestOf(shelf: Shelf | undefined, fromMs: number): Digest {
  const digest = emptyDigest();
  for (const { slice, weight, atMs } of shelf?.expiries.values() ?? []) {
    if (atMs > fromMs) digest[slice] = (digest[slice] ?? 0n) + weight;
  }
  return digest;
}

function owedBy(
  shelves: readonly Shelf[],
  site: SiteName,
  beforeMs: number,
  limit: number,
): readonly Reference[] {
  const found: Reference[] = [];
  for (const shelf of shelves) {
    const due = [...(shelf.outboxes.get(site)?.values() ?? [])].filter(({ atMs }) => atMs < beforeMs);
    for (const { reference } of due.sort((a, b) => a.atMs - b.atMs)) found.push(reference);
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}

function settle(held: Shelves['held'], { sites, references }: Settlement): void {
  for (const reference of references) {
    const outboxes = held(partitionOf(reference.mailbox))?.outboxes;
    for (const site of sites) outboxes?.get(site)?.delete(keyOf(reference));
  }
}

function sweep(shelves: readonly Shelf[], nowMs: number, limit: number): number {
  let left = limit;
  let messages = 0;
  for (const shelf of shelves) {
    for (const [key, { reference, atMs }] of shelf.expiries) {
      if (left === 0) return messages;
      if (atMs > nowMs) continue;
      left -= 1;
      shelf.expiries.delete(key);
      messages += forget(shelf, reference);
    }
  }
  return messages;
}

/** Ids are ordered by their bytes, as Redis does it. */
function precedes(a: Message, b: Message): boolean {
  if (a.acceptedMs !== b.acceptedMs) return a.acceptedMs < b.acceptedMs;
  return Buffer.compare(Buffer.from(a.id, 'base64url'), Buffer.from(b.id, 'base64url')) < 0;
}

function insertInto(
  shelf: Shelf,
  { message, owedTo }: Insertion,
  nowMs: number,
  onFull: () => void,
): InsertOutcome {
  if (message.expiresMs <= nowMs) return 'expired';
  const mailbox = mailboxIn(shelf, message.mailbox);
  const ackId = mailbox.tombstones.get(message.id) ?? mailbox.tombstones.get(nameOf(message));
  if (ackId !== undefined) {
    prolong(shelf, { kind: 'ack', mailbox: message.mailbox, id: ackId }, message.expiresMs);
    return 'buried';
  }
  const earlier = mailbox.byId.get(message.id);
  if (earlier !== undefined) {
    const isSame = isSameContent(message, earlier);
    if (earlier.expiresMs > nowMs && !isSame) return 'other_kept';
    if (earlier.expiresMs > nowMs && message.expiresMs <= earlier.expiresMs) return 'duplicate';
    mailbox.order.splice(mailbox.order.indexOf(earlier), 1);
    mailbox.bytes -= earlier.record.length;
  }
  mailbox.byId.set(message.id, message);
  mailbox.bytes += message.record.length;
  let at = mailbox.order.length;
  for (let before = mailbox.order[at - 1]; before !== undefined && precedes(message, before); ) {
    at -= 1;
    before = mailbox.order[at - 1];
  }
  mailbox.order.splice(at, 0, message);
  const reference = referenceTo(message);
  hold(shelf, reference, message.expiresMs);
  owe(shelf, reference, owedTo, nowMs, onFull);
  return 'stored';
}

function buryIn(shelf: Shelf, { ack, owedTo }: Burial, nowMs: number, onFull: () => void): boolean {
  const reference: Reference = { kind: 'ack', mailbox: ack.mailbox, id: ack.id };
  const key = keyOf(reference);
  if (shelf.acks.has(key)) {
    prolong(shelf, reference, ack.expiresMs);
    return false;
  }
  const mailbox = mailboxIn(shelf, ack.mailbox);
  const names = namesOf(ack);
  const buried = ack.ids.filter((id, place) => {
    const message = mailbox.byId.get(id);
    return message !== undefined && (names[place] === id || names[place] === nameOf(message));
  });
  const lifetimesMs = buried.map((id) => mailbox.byId.get(id)?.expiresMs ?? 0);
  const untilMs = Math.max(ack.expiresMs, ...lifetimesMs) + TOMBSTONE_SLACK_MS;
  for (const id of buried) {
    remove(mailbox, id);
    shelf.expiries.delete(keyOf(referenceTo({ mailbox: ack.mailbox, id })));
  }
  for (const name of names) {
    const earlier = { kind: 'ack', mailbox: ack.mailbox, id: mailbox.tombstones.get(name) ?? '' } as const;
    if ((shelf.expiries.get(keyOf(earlier))?.atMs ?? 0) < untilMs) mailbox.tombstones.set(name, ack.id);
  }
  shelf.acks.set(key, ack);
  hold(shelf, reference, untilMs);
  owe(shelf, reference, owedTo, nowMs, onFull);
  return true;
}

/** Under which names an ack is the tombstone of its messages: a retraction means only those that it opens. */
function namesOf({ ids, commitments }: SignedAck): readonly string[] {
  return commitments === undefined
    ? ids
    : ids.map((id, place) => nameOf({ id, commitment: commitments[place] ?? '' }));
}

function nameOf({ id, commitment }: Pick<Message, 'id' | 'commitment'>): string {
  return `${id} ${commitment}`;
}

function hold(shelf: Shelf, reference: Reference, atMs: number): void {
  const held = { reference, atMs, slice: sliceOf(reference), weight: weightOf(reference, atMs) };
  shelf.expiries.set(keyOf(reference), held);
}

/** Makes a tombstone outlive a message that it did not know. */
function prolong(shelf: Shelf, reference: Reference, expiresMs: number): void {
  const key = keyOf(reference);
  const entry = shelf.expiries.get(key);
  const atMs = expiresMs + TOMBSTONE_SLACK_MS;
  if (entry !== undefined && entry.atMs < atMs) hold(shelf, reference, atMs);
}

function owe(
  shelf: Shelf,
  reference: Reference,
  sites: readonly SiteName[],
  nowMs: number,
  onFull: () => void,
): void {
  for (const site of sites) {
    const outbox = shelf.outboxes.get(site) ?? new Map<string, Dated>();
    shelf.outboxes.set(site, outbox);
    if (outbox.size < OUTBOX_ENTRIES_MAX) outbox.set(keyOf(reference), { reference, atMs: nowMs });
    else onFull();
  }
}

function remove(mailbox: Mailbox, id: string): boolean {
  const message = mailbox.byId.get(id);
  if (message === undefined) return false;
  mailbox.byId.delete(id);
  mailbox.bytes -= message.record.length;
  mailbox.order.splice(
    mailbox.order.findIndex((other) => other.id === id),
    1,
  );
  return true;
}

/** Removes what has expired; gives how many messages that were. */
function forget(shelf: Shelf, reference: Reference): number {
  const mailbox = shelf.mailboxes.get(reference.mailbox);
  if (mailbox === undefined) return 0;
  let messages = 0;
  if (reference.kind === 'message') messages = remove(mailbox, reference.id) ? 1 : 0;
  else {
    const key = keyOf(reference);
    const ack = shelf.acks.get(key);
    for (const name of ack === undefined ? [] : namesOf(ack)) {
      if (mailbox.tombstones.get(name) === reference.id) mailbox.tombstones.delete(name);
    }
    shelf.acks.delete(key);
  }
  if (mailbox.byId.size === 0 && mailbox.tombstones.size === 0) shelf.mailboxes.delete(reference.mailbox);
  return messages;
}

function usageOf(shelf: Shelf | undefined, tag: MailboxTag): MailboxUsage {
  const mailbox = shelf?.mailboxes.get(tag);
  if (shelf === undefined || mailbox === undefined) return { messages: 0, bytes: 0, isClaimed: false };
  // A sender's retraction is a tombstone too, and claims nothing.
  const isClaimed = [...mailbox.tombstones.values()].some((id) => {
    const ack = shelf.acks.get(keyOf({ kind: 'ack', mailbox: tag, id }));
    return ack !== undefined && ack.commitments === undefined;
  });
  return { messages: mailbox.byId.size, bytes: mailbox.bytes, isClaimed };
}

function bytesIn(shelves: readonly Shelf[]): number {
  let total = 0;
  for (const { mailboxes } of shelves) for (const { bytes } of mailboxes.values()) total += bytes;
  return total;
}

function debtTo(site: SiteName, shelves: readonly Shelf[]): Debt {
  let count = 0;
  let oldestMs: number | undefined;
  for (const shelf of shelves) {
    for (const { atMs } of shelf.outboxes.get(site)?.values() ?? []) {
      count += 1;
      if (oldestMs === undefined || atMs < oldestMs) oldestMs = atMs;
    }
  }
  return { count, oldestMs };
}
