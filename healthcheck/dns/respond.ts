/**
 * Question + zone → response. Pure: a look-up in the compiled zone, a copy into the caller's buffer, and the few bytes
 * that depend on the question. What cannot be answered is refused in the words of RFC 1035 §4.1.1.
 */
import { type CompiledZone, NOTHING, type Section } from './compile.ts';
import { COOKIE_BYTES } from './cookie.ts';
import { coveringOwner } from './denial.ts';
import { CLASS_IN, HEADER_BYTES, OPTION, RCODE_NUMBERS, type Rcode, TYPE } from './message.ts';
import { findName } from './name-table.ts';
import type { Query } from './query.ts';

/** What is known of a query beside its bytes. */
export interface RespondContext {
  readonly transport: 'udp' | 'tcp';
  /** Whoever asks is where it says it is: over TCP, or with a cookie of ours. Others get no additional records. */
  readonly isProven: boolean;
  /** Which order of the addresses to take, in [0, 1). */
  readonly turn: number;
  /** `truncate`: send no records but TC, so that a real client comes back over TCP. `cookie`: BADCOOKIE. */
  readonly limit: 'none' | 'truncate' | 'cookie';
  /** The 24 bytes to return when the query carries a cookie. */
  readonly cookie: Uint8Array;
  /** What this nameserver calls itself when it is asked (NSID, RFC 5001). */
  readonly serverId: Uint8Array;
}

/** A response in the caller's buffer. */
export interface Written {
  readonly length: number;
  readonly rcode: Rcode;
}

/** What we say we can receive, and the most we send over UDP: no fragmentation on any path (DNS flag day 2020). */
export const UDP_BYTES_MAX = 1232;
const UDP_BYTES_MAX_WITHOUT_EDNS = 512;
const TCP_BYTES_MAX = 65_535;
const OPT_BYTES = 11;
const FIRST_META_TYPE = 128;

/**
 * Writes the response to a query into `out`, which has room for the largest of its transport. An undefined zone,
 * before the first answer is known, gives SERVFAIL. Never throws.
 */
export function respond(
  packet: Uint8Array,
  query: Query,
  zone: CompiledZone | undefined,
  context: RespondContext,
  out: Uint8Array,
): Written {
  const refuse = (rcode: Rcode): Written => write(packet, query, rcode, -1, NO_SECTIONS, context, out);
  if (query.ednsVersion > 0) return refuse('BADVERS');
  if (context.limit === 'cookie') return refuse('BADCOOKIE');
  // A packet that asks for a cookie only has no question, and gets its cookie (RFC 7873 §5.4).
  if (query.questionEnd === HEADER_BYTES) return refuse('NOERROR');
  if (zone === undefined) return refuse('SERVFAIL');
  const { nameEnd, type } = query;
  if (query.class !== CLASS_IN) return refuse('REFUSED');
  if (type === TYPE.OPT || type === TYPE.TSIG || type === TYPE.TKEY) return refuse('FORMERR');
  if (type === TYPE.MAILA || type === TYPE.MAILB) return refuse('NOTIMP');
  if (type >= FIRST_META_TYPE && type < TYPE.ANY) return refuse('REFUSED');

  // The closest name that exists: the question's own, or the nearest above it.
  let at = HEADER_BYTES;
  let found = -1;
  for (;;) {
    if (nameEnd - at <= zone.longestNameBytes) found = findName(zone.table, packet, at, nameEnd);
    const length = packet[at] ?? 0;
    if (found !== -1 || length === 0) break;
    at += length + 1;
  }
  const name = zone.names[found];
  if (name === undefined) return refuse('REFUSED');
  const apexAt = nameEnd - zone.apex.length;
  const wantsSignatures = query.dnssecOk;
  if (at !== HEADER_BYTES) {
    return write(packet, query, 'NXDOMAIN', apexAt, denialOf(packet, query, zone, name), context, out);
  }
  const set = type === TYPE.ANY ? firstOf(name.sets) : name.sets.get(type);
  if (set === undefined) {
    const authority = wantsSignatures ? name.noData.signed : name.noData.plain;
    return write(packet, query, 'NOERROR', apexAt, sectionsOf(NOTHING, authority, NOTHING), context, out);
  }
  const variant = set.variants[Math.floor(context.turn * set.variants.length)] ?? set.variants[0];
  const answer = (wantsSignatures ? variant?.signed : variant?.plain) ?? NOTHING;
  const courtesy = wantsSignatures ? set.additional.signed : set.additional.plain;
  const additional = context.isProven ? courtesy : NOTHING;
  return write(packet, query, 'NOERROR', apexAt, sectionsOf(answer, NOTHING, additional), context, out);
}

/** The response to a packet that is no query we understand: its header, and nothing of what follows it. */
export function respondMalformed(
  packet: Uint8Array,
  rcode: 'FORMERR' | 'NOTIMP',
  context: RespondContext,
  out: Uint8Array,
): Written {
  return write(packet, UNREADABLE, rcode, -1, NO_SECTIONS, context, out);
}

const UNREADABLE: Query = {
  kind: 'query',
  nameEnd: HEADER_BYTES,
  type: 0,
  class: 0,
  questionEnd: HEADER_BYTES,
  ednsVersion: -1,
  payloadBytesMax: 0,
  dnssecOk: false,
  cookieAt: 0,
  cookieLength: 0,
  asksServerId: false,
  tsigAt: 0,
  knownSerial: 0,
};

interface Sections {
  readonly answer: Section;
  readonly authority: Section;
  /** What denies the name, and what denies a wildcard in its place, beside the SOA. */
  readonly denial: Section;
  readonly wildcardDenial: Section;
  readonly additional: Section;
}

const NO_SECTIONS: Sections = {
  answer: NOTHING,
  authority: NOTHING,
  denial: NOTHING,
  wildcardDenial: NOTHING,
  additional: NOTHING,
};

/** All but denials of a name; written out, because a spread costs more than everything else about it. */
function sectionsOf(answer: Section, authority: Section, additional: Section): Sections {
  return { answer, authority, denial: NOTHING, wildcardDenial: NOTHING, additional };
}

/** One record set is a whole answer to ANY (RFC 8482 §4.1); the first one is the smallest that is useful. */
function firstOf<Value>(sets: ReadonlyMap<number, Value>): Value | undefined {
  for (const set of sets.values()) return set;
  return undefined;
}

/** That there is no such name: the SOA, and with signatures NSEC for the name and for a wildcard (RFC 4035 §3.1.3.2). */
function denialOf(
  packet: Uint8Array,
  query: Query,
  zone: CompiledZone,
  closest: CompiledZone['names'][number],
): Sections {
  const { negative, denials, denialOwners } = zone;
  if (!query.dnssecOk) return { ...NO_SECTIONS, authority: negative.plain };
  if (denials.length === 0) return { ...NO_SECTIONS, authority: negative.signed };
  const own = coveringOwner(denialOwners, packet, HEADER_BYTES, query.nameEnd);
  const { wildcardDenial } = closest;
  return {
    ...NO_SECTIONS,
    authority: negative.signed,
    denial: denials[own] ?? NOTHING,
    wildcardDenial: own === wildcardDenial ? NOTHING : (denials[wildcardDenial] ?? NOTHING),
  };
}

/** Header, question, the sections that fit, and OPT when the query had one. `apexAt` is -1 without authority. */
function write(
  packet: Uint8Array,
  query: Query,
  rcode: Rcode,
  apexAt: number,
  { answer, authority, denial, wildcardDenial, additional }: Sections,
  context: RespondContext,
  out: Uint8Array,
): Written {
  const { questionEnd } = query;
  const number = RCODE_NUMBERS[rcode];
  const optBytes = optLength(query, context);
  const needed =
    questionEnd +
    answer.bytes.length +
    authority.bytes.length +
    denial.bytes.length +
    wildcardDenial.bytes.length +
    optBytes;
  const limit = bytesMax(query, context.transport);
  const truncated = needed > limit || context.limit === 'truncate';
  for (let index = 0; index < questionEnd; index += 1) out[index] = packet[index] ?? 0;
  // QR, and the opcode and RD as they came.
  out[2] = 0x80 | ((packet[2] ?? 0) & 0x79) | (apexAt === -1 ? 0 : 0x04) | (truncated ? 0x02 : 0);
  out[3] = number & 0x0f;
  out[4] = 0;
  out[5] = questionEnd === HEADER_BYTES ? 0 : 1;
  for (let index = 6; index < HEADER_BYTES; index += 1) out[index] = 0;
  let at = questionEnd;
  if (!truncated) {
    at = append(out, at, answer, apexAt);
    at = append(out, at, authority, apexAt);
    at = append(out, at, denial, apexAt);
    at = append(out, at, wildcardDenial, apexAt);
    out[7] = answer.records;
    out[9] = authority.records + denial.records + wildcardDenial.records;
    // Additional records are a courtesy: they go first, and without a mark (RFC 2181 §9).
    if (needed + additional.bytes.length <= limit) {
      at = append(out, at, additional, apexAt);
      out[11] = additional.records;
    }
  }
  if (optBytes > 0) {
    at = appendOpt(out, at, query, number >> 4, context, optBytes);
    out[11] = (out[11] ?? 0) + 1;
  }
  return { length: at, rcode };
}

function append(out: Uint8Array, at: number, section: Section, apexAt: number): number {
  const { bytes, apexPointersAt } = section;
  if (bytes.length === 0) return at;
  out.set(bytes, at);
  for (let index = 0; index < apexPointersAt.length; index += 1) {
    const pointer = at + (apexPointersAt[index] ?? 0);
    out[pointer] = 0xc0 | (apexAt >> 8);
    out[pointer + 1] = apexAt & 0xff;
  }
  return at + bytes.length;
}

function bytesMax(query: Query, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return TCP_BYTES_MAX;
  return Math.min(UDP_BYTES_MAX, Math.max(UDP_BYTES_MAX_WITHOUT_EDNS, query.payloadBytesMax));
}

function optLength(query: Query, { serverId }: RespondContext): number {
  if (query.ednsVersion === -1) return 0;
  return (
    OPT_BYTES +
    (query.cookieAt === 0 ? 0 : 4 + COOKIE_BYTES) +
    (query.asksServerId && serverId.length > 0 ? 4 + serverId.length : 0)
  );
}

/** Our own OPT: payload size, the rcode's upper bits, version 0, the DO bit as it came (RFC 3225 §3), our options. */
function appendOpt(
  out: Uint8Array,
  start: number,
  query: Query,
  upperRcode: number,
  { cookie, serverId }: RespondContext,
  optBytes: number,
): number {
  for (let index = start; index < start + OPT_BYTES; index += 1) out[index] = 0;
  out[start + 2] = TYPE.OPT;
  out[start + 3] = UDP_BYTES_MAX >> 8;
  out[start + 4] = UDP_BYTES_MAX & 0xff;
  out[start + 5] = upperRcode;
  out[start + 7] = query.dnssecOk ? 0x80 : 0;
  out[start + 9] = (optBytes - OPT_BYTES) >> 8;
  out[start + 10] = (optBytes - OPT_BYTES) & 0xff;
  let at = start + OPT_BYTES;
  if (query.cookieAt !== 0) at = appendOption(out, at, OPTION.COOKIE, cookie);
  if (query.asksServerId && serverId.length > 0) at = appendOption(out, at, OPTION.NSID, serverId);
  return at;
}

function appendOption(out: Uint8Array, at: number, option: number, data: Uint8Array): number {
  out[at] = 0;
  out[at + 1] = option;
  out[at + 2] = 0;
  out[at + 3] = data.length;
  out.set(data, at + 4);
  return at + 4 + data.length;
}
