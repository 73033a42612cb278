/**
 * A strict parser for what an authoritative server may be asked (RFC 1035 §4, RFC 6891): one question, at most three
 * additional records, of which one may be OPT and the last a TSIG, and not a byte more. A request for an incremental
 * transfer also has one SOA.
 *
 * The counts in the header are checked before anything is decoded. Parsing takes one pass, makes nothing but its
 * result, and never throws.
 */
import { CLIENT_COOKIE_BYTES } from './cookie.ts';
import { HEADER_BYTES, OPTION, TYPE, u16 } from './message.ts';
import { endOfPlainName, readName } from './name.ts';

export interface Query {
  readonly kind: 'query';
  /** One past the question's name, which begins after the header; there when the packet asks for a cookie only. */
  readonly nameEnd: number;
  readonly type: number;
  readonly class: number;
  /** One past the question; bytes 12 to here are echoed as they came. */
  readonly questionEnd: number;
  /** EDNS version (RFC 6891), or -1 when there is no OPT. */
  readonly ednsVersion: number;
  /** What the sender can receive over UDP, as it says itself. */
  readonly payloadBytesMax: number;
  readonly dnssecOk: boolean;
  /** Where the cookie's data begins and how long it is; 0 when there is none (RFC 7873 §4). */
  readonly cookieAt: number;
  readonly cookieLength: number;
  readonly asksServerId: boolean;
  /** Where the TSIG record begins; 0 when there is none (RFC 8945). */
  readonly tsigAt: number;
  /** The serial that an IXFR request says it has (RFC 1995 §3); 0 otherwise. */
  readonly knownSerial: number;
}

/** Packets that get no reply at all: a reply would be an attack or a loop. */
export type PacketDiscard = 'too_short' | 'not_a_query';

export type ParsedQuery =
  | Query
  | { readonly kind: 'refused'; readonly rcode: 'FORMERR' | 'NOTIMP' }
  | { readonly kind: 'discarded'; readonly reason: PacketDiscard };

const FORMERR: ParsedQuery = { kind: 'refused', rcode: 'FORMERR' };
const NOTIMP: ParsedQuery = { kind: 'refused', rcode: 'NOTIMP' };
const TOO_SHORT: ParsedQuery = { kind: 'discarded', reason: 'too_short' };
const NOT_A_QUERY: ParsedQuery = { kind: 'discarded', reason: 'not_a_query' };

const ADDITIONALS_MAX = 3;
const COOKIE_BYTES_MAX = 40;
const SERVER_COOKIE_BYTES_MIN = 8;

/** Parses one packet from the network. Never throws. */
export function parseQuery(bytes: Uint8Array): ParsedQuery {
  if (bytes.length < HEADER_BYTES) return TOO_SHORT;
  const flags = u16(bytes, 2);
  if ((flags & 0x8000) !== 0) return NOT_A_QUERY;
  if ((flags & 0x7800) !== 0) return NOTIMP;
  const questions = u16(bytes, 4);
  const additionals = u16(bytes, 10);
  const authorities = u16(bytes, 8);
  if (questions > 1 || u16(bytes, 6) !== 0 || authorities > 1) return FORMERR;
  if (additionals > ADDITIONALS_MAX) return FORMERR;
  const query = {
    kind: 'query' as const,
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
  let at = HEADER_BYTES;
  if (questions === 1) {
    const nameEnd = endOfPlainName(bytes, HEADER_BYTES);
    if (nameEnd === undefined || nameEnd + 4 > bytes.length) return FORMERR;
    query.nameEnd = nameEnd;
    query.type = u16(bytes, nameEnd);
    query.class = u16(bytes, nameEnd + 2);
    query.questionEnd = nameEnd + 4;
    at = query.questionEnd;
  }
  if (authorities === 1) {
    const end = query.type === TYPE.IXFR ? readKnownSoa(bytes, query) : undefined;
    if (end === undefined) return FORMERR;
    at = end;
  }
  if (!readAdditionals(bytes, query, at, additionals)) return FORMERR;
  // Only whoever asks for a cookie may ask for nothing else (RFC 7873 §5.4).
  return questions === 1 || query.cookieAt > 0 ? query : FORMERR;
}

/** A `Query` while it is read. */
type Draft = { -readonly [Field in keyof Query]: Query[Field] };

/** At most one OPT, TSIG only at the end, other records skipped unread, and nothing after the last. */
function readAdditionals(bytes: Uint8Array, query: Draft, start: number, count: number): boolean {
  let at = start;
  for (let index = 0; index < count; index += 1) {
    const name = endOfPlainName(bytes, at);
    if (name === undefined || name + 10 > bytes.length) return false;
    const end = name + 10 + u16(bytes, name + 8);
    if (end > bytes.length) return false;
    const type = u16(bytes, name);
    if (type === TYPE.OPT) {
      if (query.ednsVersion !== -1 || name !== at + 1) return false;
      query.ednsVersion = bytes[name + 5] ?? 0;
      query.payloadBytesMax = u16(bytes, name + 2);
      query.dnssecOk = ((bytes[name + 6] ?? 0) & 0x80) !== 0;
      if (!readOptions(bytes, query, name + 10, end)) return false;
    } else if (type === TYPE.TSIG) {
      // Class ANY and TTL 0, and nothing after it (RFC 8945 §4.2).
      const isPlain = u16(bytes, name + 2) === TYPE.ANY && u16(bytes, name + 4) + u16(bytes, name + 6) === 0;
      if (index !== count - 1 || !isPlain) return false;
      query.tsigAt = at;
    }
    at = end;
  }
  return at === bytes.length;
}

/** The SOA of an IXFR request, whose owner may be a pointer; gives where it ends. The serial is 20 bytes before that. */
function readKnownSoa(bytes: Uint8Array, query: Draft): number | undefined {
  const owner = readName(bytes, query.questionEnd);
  if (owner === undefined || owner.end + 10 > bytes.length) return undefined;
  const end = owner.end + 10 + u16(bytes, owner.end + 8);
  if (u16(bytes, owner.end) !== TYPE.SOA || end > bytes.length || end - owner.end < 32) return undefined;
  query.knownSerial = u16(bytes, end - 20) * 2 ** 16 + u16(bytes, end - 18);
  return end;
}

/** Lengths must fill the record exactly; the first cookie counts; options that mean nothing to us are ignored. */
function readOptions(bytes: Uint8Array, query: Draft, start: number, end: number): boolean {
  let at = start;
  while (at + 4 <= end) {
    const option = u16(bytes, at);
    const length = u16(bytes, at + 2);
    if (option === OPTION.COOKIE && query.cookieAt === 0) {
      const isWhole =
        length === CLIENT_COOKIE_BYTES ||
        (length >= CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES_MIN && length <= COOKIE_BYTES_MAX);
      if (!isWhole) return false;
      query.cookieAt = at + 4;
      query.cookieLength = length;
    } else if (option === OPTION.NSID) query.asksServerId = true;
    at += 4 + length;
  }
  return at === end;
}
