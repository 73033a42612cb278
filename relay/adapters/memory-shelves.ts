/**
 * What the memory store keeps, and where: a shelf for each partition, with its mailboxes, acks, expiries and outboxes.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { SignedAck } from '../core/ack.ts';
import { type MailboxTag, PARTITIONS, type Partition } from '../core/mailbox.ts';
import type { Message } from '../core/message.ts';
import type { Reference } from '../core/reference.ts';
import { StoreUnavailable } from '../ports.ts';

export interface Mailbox {
  /** In order of (acceptedMs, id). */
  readonly order: Message[];
  readonly byId: Map<string, Message>;
  /** Of all records in it. */
  bytes: number;
  /** Message id, of a retraction with the commitment → the ack that lasts longest of those that name it. */
  readonly tombstones: Map<string, string>;
}

export interface Dated {
  readonly reference: Reference;
  readonly atMs: number;
}

export interface Held extends Dated {
  /** Of the digest. */
  readonly slice: number;
  readonly weight: bigint;
}

export interface Shelf {
  readonly mailboxes: Map<MailboxTag, Mailbox>;
  readonly acks: Map<string, SignedAck>;
  /** Everything that the partition holds, with its expiry. */
  readonly expiries: Map<string, Held>;
  readonly outboxes: Map<SiteName, Map<string, Dated>>;
}

/** The shelves of an open store; every way to them throws `StoreUnavailable` once it is closed. */
export interface Shelves {
  readonly assertOpen: () => void;
  /** The shelf of a partition, if anything was ever put there. */
  readonly held: (partition: Partition) => Shelf | undefined;
  /** The same, made when there is none. */
  readonly shelfOf: (partition: Partition) => Shelf;
  /** All of them, beginning at another one every time, so that a limit starves none. */
  readonly rotation: () => readonly Shelf[];
  readonly close: () => void;
}

/** Empty ones. */
export function createShelves(): Shelves {
  const shelves = new Map<Partition, Shelf>();
  let first = 0;
  let closed = false;
  const assertOpen = (): void => {
    if (closed) throw new StoreUnavailable('the store is closed');
  };
  return {
    assertOpen,
    held: (partition) => {
      assertOpen();
      return shelves.get(partition);
    },
    shelfOf: (partition) => {
      const shelf = shelves.get(partition) ?? emptyShelf();
      shelves.set(partition, shelf);
      return shelf;
    },
    rotation: () => {
      assertOpen();
      first = (first + 1) % PARTITIONS.length;
      return [...PARTITIONS.slice(first), ...PARTITIONS.slice(0, first)]
        .map((partition) => shelves.get(partition))
        .filter((shelf) => shelf !== undefined);
    },
    close: () => {
      closed = true;
    },
  };
}

function emptyShelf(): Shelf {
  return { mailboxes: new Map(), acks: new Map(), expiries: new Map(), outboxes: new Map() };
}

/** A mailbox of a shelf, made when there is none. */
export function mailboxIn(shelf: Shelf, tag: MailboxTag): Mailbox {
  const mailbox = shelf.mailboxes.get(tag) ?? { order: [], byId: new Map(), bytes: 0, tombstones: new Map() };
  shelf.mailboxes.set(tag, mailbox);
  return mailbox;
}

/** What a reference is called in the maps of a shelf. */
export function keyOf(reference: Reference): string {
  return `${reference.kind} ${reference.mailbox} ${reference.id}`;
}
