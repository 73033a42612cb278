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
const HALF = 1e8;
const ZERO = 0x30;
/** Kind, mailbox tag and id: how a message or an ack is named in the expiry index and in outboxes. */
export const MEMBER_BYTES: number = 1 + TAG_BYTES + ID_BYTES;
/** Of what stands before an item's record, with its list of sites and its length. */
const INSERTION_BYTES = TAG_BYTES + ID_BYTES + 3 * TIME_BYTES + 2 + 4;
const BURIAL_BYTES = TAG_BYTES + ID_BYTES + 2 * TIME_BYTES + 2 + 4;
/** Partition, site, time, count. */
const OUTBOX_BYTES = 2 + 2 + TIME_BYTES + 2;

export interface PackedItem {
  readonly mailbox: MailboxTag;
  /** 16 bytes as base64url. */
  readonly id: string;
  /** Milliseconds: of a message when it was accepted and when it expires, of an ack when it expires; then now. */
  readonly timesMs: readonly number[];
  readonly owedTo: readonly SiteName[];
  readonly record: Uint8Array;
}

/** Some entries of one outbox: `references` are of one partition. `atMs`: since when, milliseconds. */
export interface Outbox {
  readonly site: SiteName;
  readonly atMs: number;
  readonly references: readonly Reference[];
}

/** A batch for a script. */
export interface Packed {
  readonly items: Buffer;
  /** To whom items are owed, each list once and none empty; a script is told of them by their place, from 1. */
  readonly lists: readonly (readonly SiteName[])[];
  /** The place of each item's list; 0 for what is owed to nobody. */
  readonly listOf: readonly number[];
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
  const lists = new Map<string, { readonly place: number; readonly sites: readonly SiteName[] }>();
  let lastSites: readonly SiteName[] = [];
  let lastPlace = 0;
  const placeOf = (sites: readonly SiteName[]): number => {
    // Mostly one list for all of them.
    if (sites !== lastSites) {
      lastSites = sites;
      lastPlace = lookUp(sites);
    }
    return lastPlace;
  };
  const lookUp = (sites: readonly SiteName[]): number => {
    if (sites.length === 0) return 0;
    const name = sites.join(',');
    const list = lists.get(name) ?? { place: lists.size + 1, sites };
    lists.set(name, list);
    return list.place;
  };
  const listOf: number[] = [];
  const bytes = items.reduce((sum, { record }) => sum + headBytes + record.length, 0);
  const out = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { mailbox, id, timesMs, owedTo, record } of items) {
    const place = placeOf(owedTo);
    listOf.push(place);
    at += out.write(mailbox, at, 'latin1');
    at += out.write(id, at, ID_BYTES, 'base64url');
    for (const timeMs of timesMs) at = writeDigits(out, at, timeMs);
    at = out.writeUInt16BE(place, at);
    at = out.writeUInt32BE(record.length, at);
    out.set(record, at);
    at += record.length;
  }
  return { items: out, lists: [...lists.values()].map(({ sites }) => sites), listOf };
}

/** `partition 2 | site u16 | atMs 16 | count u16 | count × member` for each outbox, and the sites by their place, from 1. */
export function packOutboxes(outboxes: readonly Outbox[]): readonly [entries: Buffer, ...sites: SiteName[]] {
  const sites = [...new Set(outboxes.map(({ site }) => site))];
  const parts = outboxes.map(({ site, atMs, references }) => {
    const part = Buffer.allocUnsafe(OUTBOX_BYTES + references.length * MEMBER_BYTES);
    let at = part.write(references[0]?.mailbox.slice(0, 2) ?? '', 0, 'latin1');
    at = part.writeUInt16BE(sites.indexOf(site) + 1, at);
    at = writeDigits(part, at, atMs);
    at = part.writeUInt16BE(references.length, at);
    for (const reference of references) at += writeMember(part, at, reference);
    return part;
  });
  return [Buffer.concat(parts), ...sites];
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

/** A time, milliseconds, as 16 digits: enough for every number that a record can carry (2^53). Gives where they end. */
function writeDigits(out: Buffer, at: number, timeMs: number): number {
  const whole = Math.trunc(timeMs);
  const high = Math.floor(whole / HALF);
  writeHalf(out, at, high);
  writeHalf(out, at + TIME_BYTES / 2, whole - high * HALF);
  return at + TIME_BYTES;
}

/** Eight digits, from the last one on: with numbers of 32 bits, and without a text for each time. */
function writeHalf(out: Buffer, at: number, number: number): void {
  let left = number;
  for (let place = at + TIME_BYTES / 2 - 1; place >= at; place -= 1) {
    out[place] = ZERO + (left % 10);
    left = Math.trunc(left / 10);
  }
}
