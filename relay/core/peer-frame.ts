/**
 * What relays of different sites say to each other, and its bytes.
 *
 * A connection carries frames both ways, each `u32 length | u8 type | u32 call | payload`; a reply repeats the
 * call number of its request. Who speaks is known from the pinned key of the TLS session and never from a frame.
 * All requests are idempotent, so a caller that got no answer repeats them.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type Digest, SLICES } from './digest.ts';
import { type MailboxTag, PARTITIONS, type Partition, parseMailboxTag } from './mailbox.ts';
import type { InsertOutcome, Listed, Reference } from './reference.ts';

/** A record as it is stored, and the sites that are known to hold it already. */
export interface OfferedRecord {
  readonly record: Uint8Array;
  readonly holders: readonly SiteName[];
}

export type PeerRequest =
  /** Store these messages; answered by `outcomes` once they are durable. */
  | { readonly type: 'put'; readonly records: readonly OfferedRecord[] }
  /** Store these acks; answered by `done` once they are durable. */
  | { readonly type: 'bury'; readonly records: readonly OfferedRecord[] }
  /** These sites hold these things: the receiver owes them no copy. Answered by `done`. */
  | { readonly type: 'held'; readonly sites: readonly SiteName[]; readonly references: readonly Reference[] }
  /** What do you hold in these slices of a partition that expires after `fromMs`? Answered by `page`. */
  | {
      readonly type: 'list';
      readonly partition: Partition;
      readonly cursor: string;
      /** Bit n stands for slice n. */
      readonly slices: bigint;
      readonly fromMs: number;
    }
  /** What is the total of each partition, of what expires after `fromMs`? Answered by `totalled`. */
  | { readonly type: 'totals'; readonly fromMs: number }
  /** What are the digests of these partitions? Answered by `digested`. */
  | { readonly type: 'digests'; readonly fromMs: number; readonly partitions: readonly Partition[] }
  /** What waits in this mailbox? Answered by `page`, which is the only one. */
  | { readonly type: 'waiting'; readonly mailbox: MailboxTag }
  /** Give me these. Answered by `records`. */
  | { readonly type: 'pull'; readonly references: readonly Reference[] }
  /**
   * Give me the acks that bury these messages. Answered by `tombstones`. It travels as a pull of a third kind: a frame of a
   * new type would end the connection to a release that does not know it, which takes this for acks that it lacks, and
   * answers `records`.
   */
  | { readonly type: 'buried'; readonly references: readonly Reference[] }
  /** Are you there, and what time is it? Answered by `pong`. */
  | { readonly type: 'ping' };

export type PeerReply =
  | { readonly type: 'outcomes'; readonly outcomes: readonly PutOutcome[] }
  | { readonly type: 'done' }
  | { readonly type: 'page'; readonly references: readonly Listed[]; readonly cursor: string }
  /** For each partition in order; undefined where it cannot be reckoned now. */
  | { readonly type: 'totalled'; readonly totals: readonly (bigint | undefined)[] }
  | { readonly type: 'digested'; readonly digests: readonly (Digest | undefined)[] }
  | {
      readonly type: 'records';
      /** How many of the references, from the first, this answer deals with; ask again for the rest. */
      readonly served: number;
      readonly messages: readonly Uint8Array[];
      readonly acks: readonly Uint8Array[];
    }
  /** `served` as of `records`. A message that no ack buries there is not spoken of. */
  | { readonly type: 'tombstones'; readonly served: number; readonly acks: readonly Uint8Array[] }
  /** Wall clock of the answering relay, milliseconds. */
  | { readonly type: 'pong'; readonly wallMs: number }
  /** It was not done; the caller may repeat it later. */
  | { readonly type: 'refused'; readonly reason: PeerRefusal };

/**
 * `not_kept`: it is not believed (it did not survive the way, is of a newer version, or would live longer than any may), or
 * its part of the store is away. It stays owed.
 */
export type PutOutcome = InsertOutcome | 'not_kept';
export type PeerRefusal = 'store_unavailable' | 'bad_signature' | 'malformed' | 'overloaded';

export const FRAME_BYTES_MAX: number = 4 * 1024 * 1024;
export const HEADER_BYTES = 9;
const LIST_MAX = 4096;
const SMALL_FRAME_BYTES = 256;
/** Between the names of sites, none of which has one in it. */
const BETWEEN_SITES = ',';
/** All of a fleet but the receiver; the longest names of so many fit into a short text. */
const HOLDERS_MAX = 15;
const OUTCOMES: readonly PutOutcome[] = [
  'stored',
  'duplicate',
  'buried',
  'expired',
  'not_kept',
  'other_kept',
];
const REFUSALS: readonly PeerRefusal[] = ['store_unavailable', 'bad_signature', 'malformed', 'overloaded'];

const TYPES = {
  put: 1,
  bury: 2,
  held: 3,
  list: 4,
  pull: 5,
  buried: 5,
  ping: 6,
  totals: 7,
  digests: 8,
  waiting: 9,
  outcomes: 65,
  done: 66,
  page: 67,
  records: 68,
  pong: 69,
  refused: 70,
  totalled: 71,
  digested: 72,
  tombstones: 73,
} as const;

/** The first byte of a reference. Whoever does not know the third takes it for an ack. */
const KINDS = { message: 0, ack: 1, buried: 2 } as const;

/** The whole frame, header included. */
export function encodePeerFrame(call: number, body: PeerRequest | PeerReply): Buffer {
  const out = new ByteWriter(sizeOf(body)).u32(0).u8(TYPES[body.type]).u32(call);
  writePayload(out, body);
  const frame = out.finish();
  frame.writeUInt32BE(frame.length - 4, 0);
  return frame;
}

/** Bytes of a frame that carries records, or at least most of them; of others what one mostly has. */
function sizeOf(body: PeerRequest | PeerReply): number {
  if (body.type !== 'put' && body.type !== 'bury') return SMALL_FRAME_BYTES;
  let bytes = HEADER_BYTES + 2;
  for (const { record, holders } of body.records) {
    bytes += 1 + 4 + record.length;
    for (const site of holders) bytes += 1 + site.length;
  }
  return bytes;
}

function writePayload(out: ByteWriter, body: PeerRequest | PeerReply): void {
  switch (body.type) {
    case 'put':
    case 'bury':
      writeOffered(out, body.records);
      break;
    case 'held':
      out.shortText(body.sites.join(BETWEEN_SITES));
      writeReferences(out, body.references);
      break;
    case 'list':
      out.shortText(body.partition).shortText(body.cursor).u64(body.slices).u53(body.fromMs);
      break;
    case 'totals':
      out.u53(body.fromMs);
      break;
    case 'digests':
      out.u53(body.fromMs).u16(body.partitions.length);
      for (const partition of body.partitions) out.shortText(partition);
      break;
    case 'waiting':
      out.bytes(Buffer.from(body.mailbox, 'latin1'));
      break;
    case 'pull':
      writeReferences(out, body.references);
      break;
    case 'buried':
      writeReferences(out, body.references, KINDS.buried);
      break;
    case 'outcomes':
      out.u16(body.outcomes.length);
      for (const outcome of body.outcomes) out.u8(OUTCOMES.indexOf(outcome));
      break;
    case 'page':
      out.shortText(body.cursor);
      writeReferences(out, body.references);
      for (const { untilMs } of body.references) out.u53(untilMs);
      break;
    case 'totalled':
      out.u16(body.totals.length);
      for (const total of body.totals) writeOptional(out, total === undefined ? undefined : [total]);
      break;
    case 'digested':
      out.u16(body.digests.length);
      for (const digest of body.digests) writeOptional(out, digest);
      break;
    case 'records':
      out.u16(body.served);
      writeRecords(out, body.messages);
      writeRecords(out, body.acks);
      break;
    case 'tombstones':
      out.u16(body.served);
      writeRecords(out, body.acks);
      break;
    case 'pong':
      out.u53(body.wallMs);
      break;
    case 'refused':
      out.u8(REFUSALS.indexOf(body.reason));
      break;
    case 'ping':
    case 'done':
      break;
  }
}

function writeOffered(out: ByteWriter, records: readonly OfferedRecord[]): void {
  out.u16(records.length);
  for (const { record, holders } of records) {
    out.u8(holders.length);
    for (const site of holders) out.shortText(site);
    out.block(record);
  }
}

/** A byte that says whether sums follow. */
function writeOptional(out: ByteWriter, sums: readonly bigint[] | undefined): void {
  out.u8(sums === undefined ? 0 : 1);
  for (const sum of sums ?? []) out.u64(sum);
}

function writeReferences(out: ByteWriter, references: readonly Reference[], as?: number): void {
  out.u16(references.length);
  for (const { kind, mailbox, id } of references) {
    out
      .u8(as ?? KINDS[kind])
      .ascii(mailbox)
      .base64url(id);
  }
}

function writeRecords(out: ByteWriter, records: readonly Uint8Array[]): void {
  out.u16(records.length);
  for (const record of records) out.block(record);
}

export interface PeerFrame {
  readonly call: number;
  readonly body: PeerRequest | PeerReply;
}

/** Parses what follows the length: `u8 type | u32 call | payload`. Never throws. */
export function parsePeerFrame(bytes: Uint8Array): Result<PeerFrame, 'malformed'> {
  const reader = new ByteReader(bytes);
  const type = reader.u8();
  const call = reader.u32();
  const body = parsePayload(type, reader);
  return body === undefined || reader.malformed ? fail('malformed') : ok({ call, body });
}

function parsePayload(type: number, reader: ByteReader): PeerRequest | PeerReply | undefined {
  switch (type) {
    case TYPES.put:
      return { type: 'put', records: readOffered(reader) };
    case TYPES.bury:
      return { type: 'bury', records: readOffered(reader) };
    case TYPES.held:
      return { type: 'held', sites: readSites(reader), references: readReferences(reader) };
    case TYPES.list: {
      const partition = readPartition(reader);
      if (partition === undefined) return undefined;
      const cursor = reader.shortText();
      return { type: 'list', partition, cursor, slices: reader.u64(), fromMs: reader.u53() };
    }
    case TYPES.totals:
      return { type: 'totals', fromMs: reader.u53() };
    case TYPES.digests:
      return {
        type: 'digests',
        fromMs: reader.u53(),
        partitions: readMany(reader, () => readPartition(reader)),
      };
    case TYPES.waiting: {
      const mailbox = parseMailboxTag(reader.latin1(24));
      return mailbox === undefined ? undefined : { type: 'waiting', mailbox };
    }
    case TYPES.pull:
      return readPull(reader);
    case TYPES.ping:
      return { type: 'ping' };
    case TYPES.outcomes:
      return { type: 'outcomes', outcomes: readMany(reader, () => OUTCOMES[reader.u8()]) };
    case TYPES.done:
      return { type: 'done' };
    case TYPES.page:
      return readPage(reader);
    case TYPES.totalled:
      return {
        type: 'totalled',
        totals: readMany(reader, () => readOptional(reader, 1)).map(({ sums }) => sums?.[0]),
      };
    case TYPES.digested:
      return {
        type: 'digested',
        digests: readMany(reader, () => readOptional(reader, SLICES)).map(({ sums }) => sums),
      };
    case TYPES.records:
      return {
        type: 'records',
        served: reader.u16(),
        messages: readMany(reader, () => reader.block()),
        acks: readMany(reader, () => reader.block()),
      };
    case TYPES.tombstones:
      return {
        type: 'tombstones',
        served: reader.u16(),
        acks: readMany(reader, () => reader.block()),
      };
    case TYPES.pong:
      return { type: 'pong', wallMs: reader.u53() };
    case TYPES.refused: {
      const reason = REFUSALS[reader.u8()];
      return reason === undefined ? undefined : { type: 'refused', reason };
    }
    default:
      return undefined;
  }
}

function readPull(reader: ByteReader): PeerRequest | undefined {
  const kinds = new Set<number>();
  const references = readReferences(reader, (kind) => kinds.add(kind));
  if (!kinds.has(KINDS.buried)) return { type: 'pull', references };
  return kinds.size === 1 ? { type: 'buried', references } : undefined;
}

function readPage(reader: ByteReader): PeerReply {
  const cursor = reader.shortText();
  const references = readReferences(reader).map((reference) => ({ ...reference, untilMs: 0 }));
  for (const listed of references) listed.untilMs = reader.u53();
  return { type: 'page', cursor, references };
}

function readOffered(reader: ByteReader): readonly OfferedRecord[] {
  return readMany(reader, () => {
    const holders = Array.from({ length: Math.min(reader.u8(), 32) }, () => reader.shortText());
    return { holders, record: reader.block() };
  });
}

function readReferences(reader: ByteReader, onKind?: (kind: number) => void): readonly Reference[] {
  return readMany(reader, () => {
    const given = reader.u8();
    onKind?.(given);
    const kind = given === KINDS.message || given === KINDS.buried ? 'message' : 'ack';
    const mailbox = parseMailboxTag(reader.latin1(24));
    const id = reader.base64url(16);
    return mailbox === undefined ? undefined : { kind, mailbox, id };
  });
}

function readSites(reader: ByteReader): readonly SiteName[] {
  return reader.shortText().split(BETWEEN_SITES, HOLDERS_MAX);
}

function readPartition(reader: ByteReader): Partition | undefined {
  const name = reader.shortText();
  return PARTITIONS.find((known) => known === name);
}

function readOptional(reader: ByteReader, count: number): { readonly sums: Digest | undefined } {
  const flag = reader.u8();
  if (flag > 1) reader.refuse();
  if (flag !== 1) return { sums: undefined };
  return { sums: Array.from({ length: count }, () => reader.u64()) };
}

/** A list behind a count of two bytes; an item that is undefined makes the frame malformed. */
function readMany<Item>(reader: ByteReader, readItem: () => Item | undefined): readonly Item[] {
  const count = reader.u16();
  const items: Item[] = [];
  if (count > LIST_MAX) {
    reader.refuse();
    return items;
  }
  for (let index = 0; index < count && !reader.broken; index += 1) {
    const item = readItem();
    if (item === undefined) reader.refuse();
    else items.push(item);
  }
  return items;
}
