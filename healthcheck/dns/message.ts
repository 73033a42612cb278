/**
 * DNS messages (RFC 1035 §4): the numbers that both sides share, and the asking side, a query and a small decoder of
 * responses, for stub resolvers and tests. The answering side is `query.ts` and `respond.ts`.
 *
 * The counts in a header are checked before anything is decoded, because a general decoder that believes them turns
 * 86 bytes into 131,070 records. Nothing here throws on bytes from outside.
 */
import { addressText } from './address.ts';
import { encodeName, readName } from './name.ts';

export const HEADER_BYTES = 12;

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  TXT: 16,
  AAAA: 28,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  NSEC3: 50,
  NSEC3PARAM: 51,
  HTTPS: 65,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  CAA: 257,
} as const;
export const CLASS_IN = 1;
/** EDNS options: RFC 5001, RFC 7873. */
export const OPTION = { NSID: 3, COOKIE: 10 } as const;

export const RCODES = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'NOTAUTH',
  'BADVERS',
  'BADCOOKIE',
] as const;
export type Rcode = (typeof RCODES)[number];
/** RFC 1035 §4.1.1, RFC 6891 §9, RFC 7873 §8, RFC 8945 §3. */
export const RCODE_NUMBERS: Readonly<Record<Rcode, number>> = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  NOTAUTH: 9,
  BADVERS: 16,
  BADCOOKIE: 23,
};

export interface QueryOptions {
  /** Add EDNS(0) with this payload size; none by default. */
  readonly payloadBytesMax?: number;
  /** Ask for signatures (DO); with EDNS only. */
  readonly dnssecOk?: boolean;
  /** EDNS options in wire form; with EDNS only. */
  readonly options?: Uint8Array;
}

/** A query for `name` as a stub resolver sends it to an authoritative server; `type` is a number such as `TYPE.A`. */
export function encodeQuery(id: number, name: string, type: number, options: QueryOptions = {}): Uint8Array {
  const { payloadBytesMax, dnssecOk = false, options: data = new Uint8Array(0) } = options;
  const opt =
    payloadBytesMax === undefined
      ? []
      : [
          0,
          0,
          TYPE.OPT,
          ...pair(payloadBytesMax),
          0,
          0,
          dnssecOk ? 0x80 : 0,
          0,
          ...pair(data.length),
          ...data,
        ];
  const header = [...pair(id), 0, 0, 0, 1, 0, 0, 0, 0, 0, opt.length === 0 ? 0 : 1];
  return Uint8Array.from([...header, ...encodeName(name), ...pair(type), 0, CLASS_IN, ...opt]);
}

function pair(value: number): readonly [number, number] {
  return [value >> 8, value & 0xff];
}

interface RecordHead {
  /** As it came, without the final dot. */
  readonly name: string;
  readonly ttlSeconds: number;
}

type ResponseRecord = RecordHead &
  (
    | { readonly type: 'A' | 'AAAA'; readonly address: string }
    | { readonly type: 'NS'; readonly host: string }
    | {
        readonly type: 'SOA';
        readonly serial: number;
        readonly negativeTtlSeconds: number;
        readonly primary: string;
      }
    | { readonly type: 'other'; readonly number: number; readonly data: Uint8Array }
  );

export interface Response {
  readonly id: number;
  /** With EDNS's upper bits, so BADVERS is 16. */
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly question: { readonly name: string; readonly type: number } | undefined;
  readonly answers: readonly ResponseRecord[];
  readonly authorities: readonly ResponseRecord[];
  readonly additionals: readonly ResponseRecord[];
}

const RESPONSE_RECORDS_MAX = 256;

/** Decodes a response, or undefined when it is no well-formed one. Never throws. */
export function parseResponse(bytes: Uint8Array): Response | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = u16(bytes, 2);
  const counts = [u16(bytes, 6), u16(bytes, 8), u16(bytes, 10)];
  const questions = u16(bytes, 4);
  if ((flags & 0x8000) === 0 || questions > 1) return undefined;
  if (counts.reduce((sum, count) => sum + count, 0) > RESPONSE_RECORDS_MAX) return undefined;

  let at = HEADER_BYTES;
  let question: Response['question'];
  if (questions === 1) {
    const read = readName(bytes, at);
    if (read === undefined || read.end + 4 > bytes.length) return undefined;
    question = { name: read.name, type: u16(bytes, read.end) };
    at = read.end + 4;
  }
  let extendedRcode = 0;
  const sections: ResponseRecord[][] = [];
  for (const count of counts) {
    const section: ResponseRecord[] = [];
    for (let index = 0; index < count; index += 1) {
      const read = readRecord(bytes, at);
      if (read === undefined) return undefined;
      if (read.record.type === 'other' && read.record.number === TYPE.OPT) {
        extendedRcode = Math.floor(read.record.ttlSeconds / 2 ** 24);
      } else section.push(read.record);
      at = read.end;
    }
    sections.push(section);
  }
  const [answers = [], authorities = [], additionals = []] = sections;
  return {
    id: u16(bytes, 0),
    rcode: (flags & 0x0f) + extendedRcode * 16,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    question,
    answers,
    authorities,
    additionals,
  };
}

function readRecord(
  bytes: Uint8Array,
  offset: number,
): { readonly record: ResponseRecord; readonly end: number } | undefined {
  const owner = readName(bytes, offset);
  if (owner === undefined || owner.end + 10 > bytes.length) return undefined;
  const data = owner.end + 10;
  const end = data + u16(bytes, owner.end + 8);
  if (end > bytes.length) return undefined;
  const number = u16(bytes, owner.end);
  const head: RecordHead = { name: owner.name, ttlSeconds: u32(bytes, owner.end + 4) };
  if (number === TYPE.A || number === TYPE.AAAA) {
    const type = number === TYPE.A ? 'A' : 'AAAA';
    const address =
      end - data === (type === 'A' ? 4 : 16) ? addressText(bytes.subarray(data, end)) : undefined;
    return address === undefined ? undefined : { record: { ...head, type, address }, end };
  }
  if (number === TYPE.NS) {
    const host = readName(bytes, data);
    return host?.end === end ? { record: { ...head, type: 'NS', host: host.name }, end } : undefined;
  }
  if (number === TYPE.SOA) {
    const primary = readName(bytes, data);
    const contact = primary === undefined ? undefined : readName(bytes, primary.end);
    if (primary === undefined || contact === undefined || contact.end + 20 !== end) return undefined;
    const soa = {
      serial: u32(bytes, contact.end),
      negativeTtlSeconds: u32(bytes, contact.end + 16),
      primary: primary.name,
    };
    return { record: { ...head, type: 'SOA', ...soa }, end };
  }
  return { record: { ...head, type: 'other', number, data: bytes.subarray(data, end) }, end };
}

/** Big-endian; a byte beyond the end counts as 0. */
export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function u32(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 2 ** 16 + u16(bytes, at + 2);
}
