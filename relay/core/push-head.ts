/**
 * The head of a push request in its plainest form (RFC 9112 §3, §5), read without a general HTTP parser, because reading
 * requests is a good part of what a message costs.
 *
 * It is a subset on purpose: whatever is unusual, ambiguous or wrong is not plain, and is read, judged and answered by
 * Node's parser from its first byte on. So nothing is accepted here that is not accepted there, and as the same.
 */
import { type HeaderValues, SINGLE_HEADERS } from './push-request.ts';

/** Bytes of a head that are looked at: far below what Node's parser takes. */
export const PLAIN_HEAD_BYTES_MAX = 4096;

const REQUEST_LINE = /^POST \/p\/([A-Za-z0-9_-]{1,200}) HTTP\/1\.1$/;
/** Text of printable ASCII in lines that end in CR LF; the last line without its end. */
const PLAIN_TEXT = /^(?:[\t\x20-\x7e]|\r\n)*$/;
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const LENGTH = /^(?:0|[1-9]\d{0,6})$/;

/** Headers that change what a request is, how its body is framed, or what becomes of the connection. */
const NOT_PLAIN = new Set(['transfer-encoding', 'te', 'trailer', 'expect', 'upgrade', 'proxy-connection']);
const MEANT_ONCE = new Set<string>([...SINGLE_HEADERS, 'host', 'content-length', 'connection']);

/** What the lines below the request line say. */
export interface PlainFields {
  readonly headers: HeaderValues;
  readonly length: number;
}

/** The capability in a request line; undefined when it is no plain push request. */
export function parsePlainLine(line: string): string | undefined {
  return REQUEST_LINE.exec(line)?.[1];
}

/** The header lines, without the empty line at their end; undefined when one is not plain. */
export function parsePlainFields(text: string): PlainFields | undefined {
  if (!PLAIN_TEXT.test(text)) return undefined;
  const headers: Record<string, readonly string[]> = {};
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!TOKEN.test(name) || NOT_PLAIN.has(name)) return undefined;
    if (!MEANT_ONCE.has(name)) continue;
    if (headers[name] !== undefined) return undefined;
    // Of printable ASCII this takes spaces and tabs away, and nothing else.
    headers[name] = [line.slice(colon + 1).trim()];
  }
  const only = (name: string): string => headers[name]?.[0] ?? '';
  const staysOpen = headers['connection'] === undefined || only('connection').toLowerCase() === 'keep-alive';
  if (only('host') === '' || !LENGTH.test(only('content-length')) || !staysOpen) return undefined;
  return { headers, length: Number(only('content-length')) };
}
