/**
 * Question + zone → response, as bytes. Pure: a look-up in the compiled zone, a copy, and the few bytes that depend
 * on the question. What cannot be answered is refused in the words of RFC 1035 §4.1.1, and what must not be answered
 * is discarded by name.
 */
import { type CompiledZone, NOTHING, type Section } from './compile.ts';
import { CLASS_IN, HEADER_BYTES, RCODE_NUMBERS, type Rcode, TYPE } from './message.ts';
import { isWithin } from './name.ts';
import { type PacketDiscard, parseQuery, type Query } from './query.ts';

export type Reply =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array; readonly rcode: Rcode }
  | { readonly kind: 'discarded'; readonly reason: PacketDiscard };

export interface RespondOptions {
  readonly transport: 'udp' | 'tcp';
  /** Which order of the addresses to take, in [0, 1). */
  readonly turn: number;
}

/** What we say we can receive, and the most we send over UDP: no fragmentation on any path (DNS flag day 2020). */
const UDP_BYTES_MAX = 1232;
const UDP_BYTES_MAX_WITHOUT_EDNS = 512;
const TCP_BYTES_MAX = 65_535;

/** The reply to one packet. An undefined zone, before the first answer is known, gives SERVFAIL. Never throws. */
export function respond(packet: Uint8Array, zone: CompiledZone | undefined, options: RespondOptions): Reply {
  const parsed = parseQuery(packet);
  if (parsed.kind === 'discarded') return parsed;
  if (parsed.kind === 'refused') return assemble(packet, undefined, parsed.rcode, {}, options);
  const { query } = parsed;
  if (query.edns !== undefined && query.edns.version !== 0) {
    return assemble(packet, query, 'BADVERS', {}, options);
  }
  if (zone === undefined) return assemble(packet, query, 'SERVFAIL', {}, options);
  const isTransfer = query.type === TYPE.AXFR || query.type === TYPE.IXFR;
  if (query.class !== CLASS_IN || isTransfer || !isWithin(query.key, zone.apexKey)) {
    return assemble(packet, query, 'REFUSED', {}, options);
  }
  const apexAt = HEADER_BYTES + query.key.length - zone.apexKey.length;
  const sets = zone.names.get(query.key);
  if (sets === undefined) {
    return assemble(packet, query, 'NXDOMAIN', { apexAt, authority: zone.negative }, options);
  }
  // One record set is a whole answer to ANY (RFC 8482 §4.1); the first one is the smallest that is useful.
  const set = query.type === TYPE.ANY ? sets.values().next().value : sets.get(query.type);
  if (set === undefined) {
    return assemble(packet, query, 'NOERROR', { apexAt, authority: zone.negative }, options);
  }
  const answer = set.variants[Math.floor(options.turn * set.variants.length)] ?? NOTHING;
  return assemble(packet, query, 'NOERROR', { apexAt, answer, additional: set.additional }, options);
}

interface Sections {
  /** Where the apex begins in the question; given whenever the response is authoritative. */
  readonly apexAt?: number;
  readonly answer?: Section;
  readonly authority?: Section;
  readonly additional?: Section;
}

/** Header, the question if there was one, the sections that fit, and OPT when the query had one. */
function assemble(
  packet: Uint8Array,
  query: Query | undefined,
  rcode: Rcode,
  sections: Sections,
  { transport }: RespondOptions,
): Reply {
  const { apexAt, answer = NOTHING, authority = NOTHING } = sections;
  const questionEnd = query?.questionEnd ?? HEADER_BYTES;
  const opt = query?.edns === undefined ? NOTHING.bytes : optRecord(rcode, query.edns.dnssecOk);
  const limit = bytesMax(query, transport);
  const needed = questionEnd + answer.bytes.length + authority.bytes.length + opt.length;
  const truncated = needed > limit;
  // Additional records are a courtesy: they go first, and without a mark (RFC 2181 §9).
  const courtesy = sections.additional ?? NOTHING;
  const additional = needed + courtesy.bytes.length > limit ? NOTHING : courtesy;
  const sent = truncated ? [NOTHING, NOTHING, NOTHING] : [answer, authority, additional];

  const size = questionEnd + opt.length + sent.reduce((sum, section) => sum + section.bytes.length, 0);
  const bytes = new Uint8Array(size);
  bytes.set(packet.subarray(0, questionEnd));
  // QR, and the opcode and RD as they came.
  bytes[2] = 0x80 | ((packet[2] ?? 0) & 0x79) | (apexAt === undefined ? 0 : 0x04) | (truncated ? 0x02 : 0);
  bytes[3] = RCODE_NUMBERS[rcode] & 0x0f;
  bytes.fill(0, 4, HEADER_BYTES);
  bytes[5] = query === undefined ? 0 : 1;
  let at = questionEnd;
  sent.forEach((section, index) => {
    bytes[7 + 2 * index] = section.records;
    bytes.set(section.bytes, at);
    for (const pointer of section.apexPointersAt) {
      bytes[at + pointer] = 0xc0 | ((apexAt ?? 0) >> 8);
      bytes[at + pointer + 1] = (apexAt ?? 0) & 0xff;
    }
    at += section.bytes.length;
  });
  bytes.set(opt, at);
  if (opt.length > 0) bytes[11] = (bytes[11] ?? 0) + 1;
  return { kind: 'reply', bytes, rcode };
}

function bytesMax(query: Query | undefined, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return TCP_BYTES_MAX;
  const offered = query?.edns?.payloadBytesMax ?? UDP_BYTES_MAX_WITHOUT_EDNS;
  return Math.min(UDP_BYTES_MAX, Math.max(UDP_BYTES_MAX_WITHOUT_EDNS, offered));
}

/** Our own OPT: payload size, the rcode's upper bits, version 0, and the DO bit as it came (RFC 3225 §3). */
function optRecord(rcode: Rcode, dnssecOk: boolean): Uint8Array {
  const upper = RCODE_NUMBERS[rcode] >> 4;
  return Uint8Array.of(
    0,
    0,
    TYPE.OPT,
    UDP_BYTES_MAX >> 8,
    UDP_BYTES_MAX & 0xff,
    upper,
    0,
    dnssecOk ? 0x80 : 0,
    0,
    0,
    0,
  );
}
