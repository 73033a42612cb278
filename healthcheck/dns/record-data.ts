/**
 * The data of records that operators write into the manifest, from presentation format to bytes: TXT (RFC 1035), CAA
 * (RFC 8659), HTTPS (RFC 9460) and, for every other type, the generic form of RFC 3597.
 *
 * HTTPS without address hints: a client uses hints instead of the addresses that fail over. Types that would change
 * what a name is, or that this server makes itself, are refused.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { TYPE } from './message.ts';
import { encodeName } from './name.ts';

export interface RecordData {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** Made by this server from the manifest's sites and keys, or with a meaning that a plain record cannot have. */
const REFUSED_TYPES: ReadonlySet<number> = new Set([
  TYPE.A,
  TYPE.AAAA,
  TYPE.NS,
  TYPE.CNAME,
  TYPE.SOA,
  TYPE.DNAME,
  TYPE.OPT,
  TYPE.DS,
  TYPE.RRSIG,
  TYPE.NSEC,
  TYPE.DNSKEY,
  TYPE.NSEC3,
  TYPE.NSEC3PARAM,
]);
const META_TYPES_FROM = 128;
const META_TYPES_TO = 255;
const TEXT_BYTES_MAX = 255;

/** One record of `type` (`TXT`, `CAA`, `HTTPS` or `TYPE` and a number), or why it is none, as a part of a sentence. */
export function parseRecordData(type: string, text: string): Result<RecordData, string> {
  switch (type) {
    case 'TXT':
      return ok({ type: TYPE.TXT, bytes: textData(text) });
    case 'CAA':
      return caaData(text);
    case 'HTTPS':
      return httpsData(text);
    default:
      return genericData(type, text);
  }
}

/** Any text, cut into strings of at most 255 bytes (RFC 1035 §3.3.14). */
export function textData(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8');
  const parts = Array.from({ length: Math.max(1, Math.ceil(bytes.length / TEXT_BYTES_MAX)) }, (_, index) =>
    bytes.subarray(index * TEXT_BYTES_MAX, (index + 1) * TEXT_BYTES_MAX),
  );
  return Uint8Array.from(parts.flatMap((part) => [part.length, ...part]));
}

/** `0 issue "letsencrypt.org"` (RFC 8659 §4.1.1). */
function caaData(text: string): Result<RecordData, string> {
  const match = /^(\d{1,3}) ([a-zA-Z0-9]{1,15}) "([\x20-\x21\x23-\x7e]{0,1000})"$/.exec(text);
  const flags = Number(match?.[1]);
  if (match === null || flags > 255) return fail('expected CAA data such as 0 issue "ca.example"');
  const [, , tag = '', value = ''] = match;
  return ok({
    type: TYPE.CAA,
    bytes: Uint8Array.from([flags, tag.length, ...Buffer.from(tag), ...Buffer.from(value)]),
  });
}

/** The parameters that are understood: RFC 9460 §14.3.2. */
const PARAMETERS: Readonly<Record<string, number>> = { alpn: 1, 'no-default-alpn': 2, port: 3 };

/** `1 . alpn=h2,http/1.1 port=8443` (RFC 9460 §2.1), in service mode and without hints. */
function httpsData(text: string): Result<RecordData, string> {
  const [priority = '', target = '', ...parameters] = text.split(' ');
  if (!/^[1-9]\d{0,4}$/.test(priority) || Number(priority) > 65_535) {
    return fail('expected HTTPS data such as 1 . alpn=h2, with a priority above 0');
  }
  if (target !== '.' && !/^(?=.{1,254}$)([a-z0-9_-]{1,63}\.)+$/.test(target)) {
    return fail('expected the target of an HTTPS record as . or as a name that ends with a dot');
  }
  const values = new Map<number, Uint8Array>();
  for (const parameter of parameters) {
    const [key = '', value = ''] = parameter.split('=');
    if (key === 'ipv4hint' || key === 'ipv6hint') {
      return fail(`leave out ${key}: clients would use it instead of the addresses that fail over`);
    }
    const number = PARAMETERS[key];
    const bytes = number === undefined ? undefined : parameterValue(key, value);
    if (number === undefined || bytes === undefined || values.has(number)) {
      return fail(`expected alpn=…, no-default-alpn or port=…, each once, not ${JSON.stringify(parameter)}`);
    }
    values.set(number, bytes);
  }
  if (values.has(2) && !values.has(1)) return fail('no-default-alpn needs alpn');
  const ordered = [...values].sort(([a], [b]) => a - b);
  return ok({
    type: TYPE.HTTPS,
    bytes: Uint8Array.from([
      ...pair(Number(priority)),
      ...encodeName(target),
      ...ordered.flatMap(([number, bytes]) => [...pair(number), ...pair(bytes.length), ...bytes]),
    ]),
  });
}

function parameterValue(key: string, value: string): Uint8Array | undefined {
  if (key === 'no-default-alpn') return value === '' ? new Uint8Array(0) : undefined;
  if (key === 'port') {
    return /^[1-9]\d{0,4}$/.test(value) && Number(value) <= 65_535
      ? Uint8Array.from(pair(Number(value)))
      : undefined;
  }
  const ids = value.split(',');
  if (!ids.every((id) => /^[\w./-]{1,32}$/.test(id))) return undefined;
  return Uint8Array.from(ids.flatMap((id) => [id.length, ...Buffer.from(id)]));
}

/** `\# 4 0A000001` (RFC 3597 §5). */
function genericData(type: string, text: string): Result<RecordData, string> {
  const number = Number(/^TYPE(\d{1,5})$/.exec(type)?.[1]);
  if (!(number > 0 && number <= 65_535)) return fail('expected TXT, CAA, HTTPS or TYPE and a number');
  if (REFUSED_TYPES.has(number) || (number >= META_TYPES_FROM && number <= META_TYPES_TO)) {
    return fail(`records of type ${number} cannot be added by hand`);
  }
  const match = /^\\# (\d{1,5})((?: [0-9a-fA-F]+)*)$/.exec(text);
  const hex = (match?.[2] ?? '').replaceAll(' ', '');
  if (match === null || hex.length !== 2 * Number(match[1])) {
    return fail('expected \\#, the number of bytes, and the bytes in hexadecimal, such as \\# 2 0a0b');
  }
  return ok({ type: number, bytes: Uint8Array.from(Buffer.from(hex, 'hex')) });
}

function pair(value: number): readonly [number, number] {
  return [value >> 8, value & 0xff];
}
