/**
 * What relays of different sites say to each other, and its bytes.
 *
 * A connection carries frames both ways, each `u32 length | u8 type | u32 call | payload`; a reply repeats the
 * call number of its request. Who speaks is known from the pinned key of the TLS session and never from a frame.
 * All requests are idempotent, so a caller that got no answer repeats them.
 */
import type { SiteName } from '../../fleet/manifest.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { PARTITIONS, type Partition, parseMailboxTag } from './mailbox.ts';
import type { InsertOutcome, Reference } from './reference.ts';

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
  | { readonly type: 'held'; readonly site: SiteName; readonly references: readonly Reference[] }
  /** What do you hold in this partition? Answered by `page`. */
  | { readonly type: 'list'; readonly partition: Partition; readonly cursor: string }
  /** Give me these. Answered by `records`. */
  | { readonly type: 'pull'; readonly references: readonly Reference[] }
  /** Are you there, and what time is it? Answered by `pong`. */
  | { readonly type: 'ping' };

export type PeerReply =
  | { readonly type: 'outcomes'; readonly outcomes: readonly PutOutcome[] }
  | { readonly type: 'done' }
  | { readonly type: 'page'; readonly references: readonly Reference[]; readonly cursor: string }
  | {
      readonly type: 'records';
      /** How many of the references, from the first, this answer deals with; ask again for the rest. */
      readonly served: number;
      readonly messages: readonly Uint8Array[];
      readonly acks: readonly Uint8Array[];
    }
  /** Wall clock of the answering relay, milliseconds. */
  | { readonly type: 'pong'; readonly wallMs: number }
  /** It was not done; the caller may repeat it later. */
  | { readonly type: 'refused'; readonly reason: PeerRefusal };

/** `damaged`: the record did not survive the way, or is of a newer version. */
export type PutOutcome = InsertOutcome | 'damaged';
export type PeerRefusal = 'store_unavailable' | 'bad_signature' | 'malformed' | 'overloaded';

export const FRAME_BYTES_MAX: number = 4 * 1024 * 1024;
export const HEADER_BYTES = 9;
const LIST_MAX = 4096;
const OUTCOMES: readonly PutOutcome[] = ['stored', 'duplicate', 'buried', 'expired', 'damaged', 'other_kept'];
const REFUSALS: readonly PeerRefusal[] = ['store_unavailable', 'bad_signature', 'malformed', 'overloaded'];

const TYPES = {
  put: 1,
  bury: 2,
  held: 3,
  list: 4,
  pull: 5,
  ping: 6,
  outcomes: 65,
  done: 66,
  page: 67,
  records: 68,
  pong: 69,
  refused: 70,
} as const;

/** The whole frame, header included. */
export function encodePeerFrame(call: number, body: PeerRequest | PeerReply): Buffer {
  const out = new ByteWriter().u32(0).u8(TYPES[body.type]).u32(call);
  writePayload(out, body);
  const frame = out.finish();
  frame.writeUInt32BE(frame.length - 4, 0);
  return frame;
}

function writePayload(out: ByteWriter, body: PeerRequest | PeerReply): void {
  switch (body.type) {
    case 'put':
    case 'bury':
      out.u16(body.records.length);
      for (const { record, holders } of body.records) {
        out.u8(holders.length);
        for (const site of holders) out.shortText(site);
        out.block(record);
      }
      break;
    case 'held':
      out.shortText(body.site);
      writeReferences(out, body.references);
      break;
    case 'list':
      out.shortText(body.partition).shortText(body.cursor);
      break;
    case 'pull':
      writeReferences(out, body.references);
      break;
    case 'outcomes':
      out.u16(body.outcomes.length);
      for (const outcome of body.outcomes) out.u8(OUTCOMES.indexOf(outcome));
      break;
    case 'page':
      out.shortText(body.cursor);
      writeReferences(out, body.references);
      break;
    case 'records':
      out.u16(body.served);
      for (const records of [body.messages, body.acks]) {
        out.u16(records.length);
        for (const record of records) out.block(record);
      }
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

function writeReferences(out: ByteWriter, references: readonly Reference[]): void {
  out.u16(references.length);
  for (const { kind, mailbox, id } of references) {
    out
      .u8(kind === 'message' ? 0 : 1)
      .ascii(mailbox)
      .base64url(id);
  }
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
      return { type: 'held', site: reader.shortText(), references: readReferences(reader) };
    case TYPES.list: {
      const name = reader.shortText();
      const partition = PARTITIONS.find((known) => known === name);
      return partition === undefined ? undefined : { type: 'list', partition, cursor: reader.shortText() };
    }
    case TYPES.pull:
      return { type: 'pull', references: readReferences(reader) };
    case TYPES.ping:
      return { type: 'ping' };
    case TYPES.outcomes: {
      const outcomes = readMany(reader, () => OUTCOMES[reader.u8()]);
      return { type: 'outcomes', outcomes };
    }
    case TYPES.done:
      return { type: 'done' };
    case TYPES.page:
      return { type: 'page', cursor: reader.shortText(), references: readReferences(reader) };
    case TYPES.records:
      return {
        type: 'records',
        served: reader.u16(),
        messages: readMany(reader, () => reader.block()),
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

function readOffered(reader: ByteReader): readonly OfferedRecord[] {
  return readMany(reader, () => {
    const holders = Array.from({ length: Math.min(reader.u8(), 32) }, () => reader.shortText());
    return { holders, record: reader.block() };
  });
}

function readReferences(reader: ByteReader): readonly Reference[] {
  return readMany(reader, () => {
    const kind = reader.u8() === 0 ? 'message' : 'ack';
    const mailbox = parseMailboxTag(reader.bytes(24).toString('latin1'));
    const id = reader.base64url(16);
    return mailbox === undefined ? undefined : { kind, mailbox, id };
  });
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
