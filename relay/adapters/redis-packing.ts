/**
 * How a batch is packed into one argument of a script of `redis-write-scripts.ts`: fields of fixed length one after the
 * other, times as 16 decimal digits (Redis wants scores as text), a record behind its length of four bytes.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { MailboxTag } from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';

const TAG_BYTES = 24;
const ID_BYTES = 16;
const TIME_BYTES = 16;
/** Kind, mailbox tag and id: how a message or an ack is named in the expiry index and in outboxes. */
const MEMBER_BYTES = 1 + TAG_BYTES + ID_BYTES;
/** Of what stands before an item's record, with its list of sites and its length. */
const INSERTION_BYTES = TAG_BYTES + ID_BYTES + 3 * TIME_BYTES + 2 + 4;
const BURIAL_BYTES = TAG_BYTES + ID_BYTES + 2 * TIME_BYTES + 2 + 4;
/** Partition, list of one site, count. */
const SETTLEMENT_BYTES = 2 + 2 + 2;

export interface PackedItem {
  readonly mailbox: MailboxTag;
  /** 16 bytes as base64url. */
  readonly id: string;
  /** Milliseconds: of a message when it was accepted and when it expires, of an ack when it expires; then now. */
  readonly timesMs: readonly number[];
  readonly owedTo: readonly SiteName[];
  readonly record: Uint8Array;
}

/** What is settled of one outbox: `references` are of one partition. */
export interface Outbox {
  readonly site: SiteName;
  readonly references: readonly Reference[];
}

/** What a script is given. */
export type Packed = readonly [items: Buffer, ...lists: string[]];

/** Lists of sites, each once; an item names its list by its place, from 1. */
interface SiteLists {
  readonly placeOf: (sites: readonly SiteName[]) => number;
  readonly lists: readonly string[];
}

function createSiteLists(): SiteLists {
  const lists: string[] = [];
  return {
    lists,
    placeOf: (sites) => {
      const list = sites.join(',');
      const place = lists.indexOf(list);
      return place < 0 ? lists.push(list) : place + 1;
    },
  };
}

/** `tag 24 | id 16 | acceptedMs 16 | expiresMs 16 | nowMs 16 | list u16 | length u32 | record`, for each message. */
export function packInsertions(items: readonly PackedItem[]): Packed {
  return pack(items, INSERTION_BYTES);
}

/** `tag 24 | id 16 | expiresMs 16 | nowMs 16 | list u16 | length u32 | sealed record`, for each ack. */
export function packBurials(items: readonly PackedItem[]): Packed {
  return pack(items, BURIAL_BYTES);
}

function pack(items: readonly PackedItem[], headBytes: number): Packed {
  const lists = createSiteLists();
  const bytes = items.reduce((sum, { record }) => sum + headBytes + record.length, 0);
  const out = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { mailbox, id, timesMs, owedTo, record } of items) {
    at += out.write(mailbox, at, 'latin1');
    at += out.write(id, at, ID_BYTES, 'base64url');
    for (const timeMs of timesMs) at += out.write(digitsOf(timeMs), at, 'latin1');
    at = out.writeUInt16BE(lists.placeOf(owedTo), at);
    at = out.writeUInt32BE(record.length, at);
    out.set(record, at);
    at += record.length;
  }
  return [out, ...lists.lists];
}

/** `partition 2 | list u16 | count u16 | count × member`, for each outbox. */
export function packSettlements(outboxes: readonly Outbox[]): Packed {
  const lists = createSiteLists();
  const parts: Buffer[] = [];
  for (const { site, references } of outboxes) {
    const part = Buffer.allocUnsafe(SETTLEMENT_BYTES + references.length * MEMBER_BYTES);
    let at = part.write(references[0]?.mailbox.slice(0, 2) ?? '', 0, 'latin1');
    at = part.writeUInt16BE(lists.placeOf([site]), at);
    at = part.writeUInt16BE(references.length, at);
    for (const reference of references) at += writeMember(part, at, reference);
    parts.push(part);
  }
  return [Buffer.concat(parts), ...lists.lists];
}

/** How a message or an ack is named in the expiry index and in outboxes. */
export function member(reference: Reference): Buffer {
  const out = Buffer.allocUnsafe(MEMBER_BYTES);
  writeMember(out, 0, reference);
  return out;
}

function writeMember(out: Buffer, at: number, { kind, mailbox, id }: Reference): number {
  out.write(kind === 'message' ? 'm' : 'a', at, 'latin1');
  out.write(mailbox, at + 1, 'latin1');
  out.write(id, at + 1 + TAG_BYTES, ID_BYTES, 'base64url');
  return MEMBER_BYTES;
}

/** A time, milliseconds, as 16 digits: enough for every number that a record can carry (2^53). */
function digitsOf(timeMs: number): string {
  return String(Math.trunc(timeMs)).padStart(TIME_BYTES, '0');
}
