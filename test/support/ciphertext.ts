/**
 * Bodies that look encrypted to a relay: an RFC 8188 header and one record of bytes that follow from a name. Nobody can
 * open them.
 */
import { createHash } from 'node:crypto';

const HEADER_BYTES = 21;
const RECORD_BYTES_MIN = 17;

/** The same body for the same name; at least 38 bytes. */
export function ciphertext(name: string, length = 64): Buffer {
  if (length < HEADER_BYTES + RECORD_BYTES_MIN) throw new Error('too short for a record');
  const body = Buffer.alloc(length);
  for (let at = 0, block = 0; at < length; at += 32, block += 1) {
    createHash('sha256').update(`${name} ${block}`).digest().copy(body, at);
  }
  body.writeUInt32BE(Math.max(4096, length), 16);
  body.writeUInt8(0, 20);
  return body;
}
