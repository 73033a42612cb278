/**
 * A strict parser for what an authoritative server may be asked (RFC 1035 §4, RFC 6891): one question, at most two
 * additional records, of which one may be OPT, and not a byte more.
 *
 * The counts in the header are checked before anything is decoded. Parsing takes one pass and never throws.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { HEADER_BYTES, TYPE, u16 } from './message.ts';
import { endOfPlainName, nameKey } from './name.ts';

/** EDNS(0), RFC 6891. */
interface Edns {
  readonly version: number;
  /** What the sender can receive over UDP, as it says itself. */
  readonly payloadBytesMax: number;
  readonly dnssecOk: boolean;
}

export interface Query {
  /** The question's name in lower-case wire form; see `nameKey`. */
  readonly key: string;
  readonly type: number;
  readonly class: number;
  /** One past the question; bytes 12 to here are echoed as they came. */
  readonly questionEnd: number;
  readonly edns: Edns | undefined;
}

/** Packets that get no reply at all: a reply would be an attack or a loop. */
export type PacketDiscard = 'too_short' | 'not_a_query';

export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'refused'; readonly rcode: 'FORMERR' | 'NOTIMP' }
  | { readonly kind: 'discarded'; readonly reason: PacketDiscard };

const FORMERR: ParsedQuery = { kind: 'refused', rcode: 'FORMERR' };

/** Parses one packet from the network. Never throws. */
export function parseQuery(bytes: Uint8Array): ParsedQuery {
  if (bytes.length < HEADER_BYTES) return { kind: 'discarded', reason: 'too_short' };
  const flags = u16(bytes, 2);
  if ((flags & 0x8000) !== 0) return { kind: 'discarded', reason: 'not_a_query' };
  if ((flags & 0x7800) !== 0) return { kind: 'refused', rcode: 'NOTIMP' };
  const additionals = u16(bytes, 10);
  if (u16(bytes, 4) !== 1 || u16(bytes, 6) !== 0 || u16(bytes, 8) !== 0 || additionals > 2) return FORMERR;
  const nameEnd = endOfPlainName(bytes, HEADER_BYTES);
  if (nameEnd === undefined || nameEnd + 4 > bytes.length) return FORMERR;
  const questionEnd = nameEnd + 4;
  const edns = readAdditionals(bytes, questionEnd, additionals);
  if (!edns.ok) return FORMERR;
  return {
    kind: 'query',
    query: {
      key: nameKey(bytes, HEADER_BYTES, nameEnd),
      type: u16(bytes, nameEnd),
      class: u16(bytes, nameEnd + 2),
      questionEnd,
      edns: edns.value,
    },
  };
}

/** At most one OPT, other records skipped unread, and nothing after the last (RFC 6891 §6.1.1). */
function readAdditionals(
  bytes: Uint8Array,
  start: number,
  count: number,
): Result<Edns | undefined, 'malformed'> {
  let edns: Edns | undefined;
  let at = start;
  for (let index = 0; index < count; index += 1) {
    const name = endOfPlainName(bytes, at);
    if (name === undefined || name + 10 > bytes.length) return fail('malformed');
    const end = name + 10 + u16(bytes, name + 8);
    if (end > bytes.length) return fail('malformed');
    if (u16(bytes, name) === TYPE.OPT) {
      if (edns !== undefined || name !== at + 1 || !hasWholeOptions(bytes, name + 10, end)) {
        return fail('malformed');
      }
      edns = {
        version: bytes[name + 5] ?? 0,
        payloadBytesMax: u16(bytes, name + 2),
        dnssecOk: ((bytes[name + 6] ?? 0) & 0x80) !== 0,
      };
    }
    at = end;
  }
  return at === bytes.length ? ok(edns) : fail('malformed');
}

/** Options are ignored, but their lengths must fill the record exactly. */
function hasWholeOptions(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at + 4 <= end) at += 4 + u16(bytes, at + 2);
  return at === end;
}
