/**
 * The `aes128gcm` content coding (RFC 8188) with WebCrypto. Sealing makes one record, as RFC 8291 §4 demands of
 * senders; opening reads any number, because some Web Push libraries split what does not fit into 4096 bytes.
 *
 * body = salt 16 | record size u32 | key id length u8 | key id | records. A record is AES-128-GCM over
 * content | delimiter | zeros, where the delimiter is 2 in the last record and 1 in the others.
 */
import { type Bytes, concat, utf8 } from './bytes.ts';
import { DecryptionError } from './errors.ts';

export const SALT_BYTES = 16;
export const TAG_BYTES = 16;
/** Smallest record size that RFC 8188 §2 allows: a delimiter, a tag and one byte. */
const RECORD_SIZE_MIN = 18;
const FIXED_HEADER_BYTES: number = SALT_BYTES + 5;
const LAST = 2;
const NOT_LAST = 1;

/** Bytes that sealing adds to a plaintext: header, delimiter and tag. */
export function overheadBytes(keyIdBytes: number): number {
  return FIXED_HEADER_BYTES + keyIdBytes + 1 + TAG_BYTES;
}

export interface Sealing {
  readonly inputKey: Bytes;
  readonly salt: Bytes;
  readonly keyId: Bytes;
  /** Must exceed the plaintext, its padding, the delimiter and the tag together. */
  readonly recordSize: number;
  readonly paddingBytes: number;
}

/** Seals a plaintext into a body of one record. */
export async function seal(plaintext: Uint8Array, sealing: Sealing): Promise<Bytes> {
  const { salt, keyId, recordSize } = sealing;
  const content = new Uint8Array(plaintext.length + 1 + sealing.paddingBytes);
  content.set(plaintext);
  content[plaintext.length] = LAST;
  const { key, nonce } = await deriveKey(sealing.inputKey, salt, 'encrypt');
  const record = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonce }, key, content);
  const header = new Uint8Array(FIXED_HEADER_BYTES);
  header.set(salt);
  new DataView(header.buffer).setUint32(SALT_BYTES, recordSize);
  header[SALT_BYTES + 4] = keyId.length;
  return concat(header, keyId, new Uint8Array(record));
}

export interface SealedBody {
  readonly salt: Bytes;
  readonly recordSize: number;
  readonly keyId: Bytes;
  readonly records: Bytes;
}

/** Reads the header. Throws `DecryptionError` (malformed) when the body cannot be one. */
export function parseBody(body: Uint8Array): SealedBody {
  const bytes = new Uint8Array(body);
  const keyIdBytes = bytes[FIXED_HEADER_BYTES - 1] ?? 0;
  const start = FIXED_HEADER_BYTES + keyIdBytes;
  // A record holds at least its delimiter and its tag.
  if (bytes.length < start + 1 + TAG_BYTES) throw new DecryptionError('malformed');
  const recordSize = new DataView(bytes.buffer).getUint32(SALT_BYTES);
  if (recordSize < RECORD_SIZE_MIN) throw new DecryptionError('malformed');
  return {
    salt: bytes.slice(0, SALT_BYTES),
    recordSize,
    keyId: bytes.slice(FIXED_HEADER_BYTES, start),
    records: bytes.slice(start),
  };
}

/** Opens all records. Throws `DecryptionError` when anything was changed, cut off or badly padded. */
export async function open(body: SealedBody, inputKey: Bytes): Promise<Bytes> {
  const { key, nonce } = await deriveKey(inputKey, body.salt, 'decrypt');
  const parts: Bytes[] = [];
  for (let start = 0, index = 0; start < body.records.length; start += body.recordSize, index += 1) {
    const record = body.records.subarray(start, start + body.recordSize);
    const iv = nonceOf(nonce, index);
    let content: Bytes;
    try {
      content = new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, record));
    } catch (error) {
      throw new DecryptionError('not_authentic', { cause: error });
    }
    parts.push(withoutPadding(content, start + body.recordSize >= body.records.length));
  }
  return concat(...parts);
}

/** The delimiter is the last byte that is not zero; the wrong one means that records are missing or moved. */
function withoutPadding(content: Bytes, isLast: boolean): Bytes {
  let end = content.length - 1;
  while (end >= 0 && content[end] === 0) end -= 1;
  if (content[end] !== (isLast ? LAST : NOT_LAST)) throw new DecryptionError('badly_padded');
  return content.subarray(0, end);
}

/** The nonce of a record: the base nonce, its low bits exclusive-or the record's number (RFC 8188 §2.3). */
function nonceOf(base: Bytes, index: number): Bytes {
  const nonce = base.slice();
  const view = new DataView(nonce.buffer);
  view.setUint32(8, (view.getUint32(8) ^ index) >>> 0);
  return nonce;
}

async function deriveKey(
  inputKey: Bytes,
  salt: Bytes,
  usage: 'encrypt' | 'decrypt',
): Promise<{ key: CryptoKey; nonce: Bytes }> {
  const [raw, nonce] = await Promise.all([
    hkdf(inputKey, salt, utf8('Content-Encoding: aes128gcm\0'), 16),
    hkdf(inputKey, salt, utf8('Content-Encoding: nonce\0'), 12),
  ]);
  return { key: await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, [usage]), nonce };
}

/** HKDF with SHA-256 (RFC 5869), extract and expand. */
export async function hkdf(inputKey: Bytes, salt: Bytes, info: Bytes, lengthBytes: number): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', inputKey, 'HKDF', false, ['deriveBits']);
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt, info };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, lengthBytes * 8));
}
