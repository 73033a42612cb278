/**
 * TSIG (RFC 8945): messages that carry a keyed hash, by which a secondary and its primary know each other. A MAC is
 * checked over the bytes as they came, and compared in constant time; nothing here throws on bytes from outside.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { fail, ok, type Result } from '../../system/result.ts';
import { TYPE, u16 } from './message.ts';
import { encodeName, endOfPlainName, isNameText } from './name.ts';

const HASHES: Readonly<Record<string, string>> = {
  'hmac-sha256': 'sha256',
  'hmac-sha384': 'sha384',
  'hmac-sha512': 'sha512',
};

export interface TsigKey {
  /** Lower case, without the final dot. */
  readonly name: string;
  /** `hmac-sha256`, `hmac-sha384` or `hmac-sha512`. */
  readonly algorithm: string;
  readonly secret: Uint8Array;
}

/** RFC 8945 §3: what is wrong with a request, as a number in the reply. */
const TSIG_ERRORS = { BADSIG: 16, BADKEY: 17, BADTIME: 18 } as const;
export type TsigError = keyof typeof TSIG_ERRORS;

/** A request that was made by somebody who has the key. */
export interface OpenedRequest {
  readonly key: TsigKey;
  readonly mac: Uint8Array;
}

const CLASS_ANY = 255;
const FUDGE_SECONDS = 300;
const HEADER_BYTES = 12;

/** `hmac-sha256:name:base64`, the form that `dig -y` and `kdig -y` take; undefined when it is something else. */
export function parseTsigKey(text: string): TsigKey | undefined {
  const [algorithm = '', name = '', secret = '', ...rest] = text.trim().split(':');
  const isSecret = /^[A-Za-z0-9+/]{22,}={0,2}$/.test(secret);
  if (!(algorithm in HASHES) || rest.length > 0 || !isSecret || !/^[a-z0-9_.-]{1,100}$/.test(name))
    return undefined;
  try {
    encodeName(name);
  } catch {
    return undefined;
  }
  return { algorithm, name: name.replace(/\.$/, ''), secret: Uint8Array.from(Buffer.from(secret, 'base64')) };
}

/** Checks the TSIG record that begins at `tsigAt` and is the message's last. */
export function openTsig(
  message: Uint8Array,
  tsigAt: number,
  keys: readonly TsigKey[],
  nowSeconds: number,
): Result<OpenedRequest, { readonly error: TsigError; readonly request: OpenedRequest | undefined }> {
  const nameEnd = endOfPlainName(message, tsigAt) ?? message.length;
  const algorithmAt = nameEnd + 10;
  const algorithmEnd = endOfPlainName(message, algorithmAt) ?? message.length;
  const macAt = algorithmEnd + 10;
  const macLength = u16(message, algorithmEnd + 8);
  const mac = message.subarray(macAt, macAt + macLength);
  const after = macAt + macLength;
  const otherLength = u16(message, after + 4);
  const key = keys.find(
    (one) =>
      isNameText(message, tsigAt, nameEnd, one.name) &&
      isNameText(message, algorithmAt, algorithmEnd, one.algorithm),
  );
  if (key === undefined || after + 6 + otherLength !== message.length)
    return fail({ error: 'BADKEY', request: undefined });
  const signed = Buffer.from(message.subarray(0, tsigAt));
  signed.writeUInt16BE(u16(message, after), 0);
  signed.writeUInt16BE(u16(message, 10) - 1, 10);
  const times = message.subarray(algorithmEnd, algorithmEnd + 8);
  const wanted = macOf(key, [signed, variables(key, times, message.subarray(after + 2))]);
  if (wanted.length !== mac.length || !timingSafeEqual(wanted, mac)) {
    return fail({ error: 'BADSIG', request: undefined });
  }
  const signedSeconds = u16(times, 0) * 2 ** 32 + u16(times, 2) * 2 ** 16 + u16(times, 4);
  const request = { key, mac: Uint8Array.from(mac) };
  return Math.abs(signedSeconds - nowSeconds) <= u16(times, 6)
    ? ok(request)
    : fail({ error: 'BADTIME', request });
}

export interface SealOptions {
  readonly key: TsigKey;
  readonly nowSeconds: number;
  /** The MAC that this message answers or follows; none for a request. */
  readonly prior?: Uint8Array;
  /** A further message of the same reply: only its times are hashed beside it (RFC 8945 §5.3.1). */
  readonly isFurther?: boolean;
  readonly error?: TsigError;
}

/** The message with a TSIG record at its end, and the MAC in it. */
export function sealTsig(
  message: Uint8Array,
  { key, nowSeconds, prior, isFurther = false, error }: SealOptions,
): { readonly message: Uint8Array; readonly mac: Uint8Array } {
  const times = Buffer.alloc(8);
  times.writeUIntBE(nowSeconds, 0, 6);
  times.writeUInt16BE(FUDGE_SECONDS, 6);
  // With BADTIME the reply says what time it is here.
  const other = error === 'BADTIME' ? times.subarray(0, 6) : Buffer.alloc(0);
  const tail = Buffer.from([
    ...pair(error === undefined ? 0 : TSIG_ERRORS[error]),
    ...pair(other.length),
    ...other,
  ]);
  const mac = macOf(key, [
    ...(prior === undefined ? [] : [Buffer.from(pair(prior.length)), prior]),
    message,
    isFurther ? times : variables(key, times, tail),
  ]);
  return { message: withRecord(message, key.name, key.algorithm, times, mac, tail), mac };
}

/** A reply to somebody whose key or MAC is not known here: with the error, and without a MAC (RFC 8945 §5.3.2). */
export function refuseTsig(
  request: Uint8Array,
  tsigAt: number,
  reply: Uint8Array,
  error: TsigError,
): Uint8Array {
  const nameEnd = endOfPlainName(request, tsigAt) ?? tsigAt;
  const algorithmEnd = endOfPlainName(request, nameEnd + 10) ?? nameEnd + 10;
  const data = Buffer.from([
    ...request.subarray(nameEnd + 10, algorithmEnd),
    ...request.subarray(algorithmEnd, algorithmEnd + 8),
    ...pair(0),
    ...request.subarray(0, 2),
    ...pair(TSIG_ERRORS[error]),
    ...pair(0),
  ]);
  return appendRecord(reply, request.subarray(tsigAt, nameEnd), data);
}

function withRecord(
  message: Uint8Array,
  name: string,
  algorithm: string,
  times: Uint8Array,
  mac: Uint8Array,
  tail: Uint8Array,
): Uint8Array {
  const data = Buffer.from([
    ...encodeName(algorithm),
    ...times,
    ...pair(mac.length),
    ...mac,
    ...message.subarray(0, 2),
    ...tail,
  ]);
  return appendRecord(message, encodeName(name), data);
}

function appendRecord(message: Uint8Array, owner: Uint8Array, data: Uint8Array): Uint8Array {
  const whole = Buffer.concat([
    message,
    owner,
    Buffer.from([...pair(TYPE.TSIG), ...pair(CLASS_ANY), 0, 0, 0, 0, ...pair(data.length)]),
    data,
  ]);
  whole.writeUInt16BE(whole.readUInt16BE(HEADER_BYTES - 2) + 1, HEADER_BYTES - 2);
  return whole;
}

/** RFC 8945 §4.3.3; `tail` is error, length of other data, and other data. */
function variables(key: TsigKey, times: Uint8Array, tail: Uint8Array): Uint8Array {
  const head = [...encodeName(key.name), ...pair(CLASS_ANY), 0, 0, 0, 0, ...encodeName(key.algorithm)];
  return Buffer.concat([Buffer.from(head), times, tail]);
}

function macOf(key: TsigKey, parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac(HASHES[key.algorithm] ?? 'sha256', key.secret);
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

function pair(value: number): readonly [number, number] {
  return [(value >>> 8) & 0xff, value & 0xff];
}
