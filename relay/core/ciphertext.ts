/**
 * Whether a body can be what its sender says it is. A relay has no key, so it cannot know that a body is encrypted;
 * but it can see that a body has not even the shape of it, and a sender that forgot to encrypt hears so at its
 * first message instead of never.
 *
 * What passes may still be rubbish; what is refused is never ciphertext.
 */

/** The coding of a body without a content coding and without an allowed type, which has to be empty. */
export const NOTHING = '';
/** What recipients are told of such a body. An operator may allow bodies of this type, too. */
export const CODING_OF_NOTHING = 'application/octet-stream';
/** MLS messages (RFC 9420 §6): like `aes128gcm` never the same bytes twice, because each has a generation. */
export const MLS = 'message/mls';

const SALT_BYTES = 16;
const HEADER_BYTES: number = SALT_BYTES + 4 + 1;
/** The delimiter and the tag: what a record of nothing has (RFC 8188 §2). */
const RECORD_BYTES_MIN = 17;
const RECORD_SIZE_MIN = 18;
const MLS_10 = 1;

/** Whether a body in this coding, as `parsePushRequest` names it, may be taken. Types of the operator may be anything. */
export function isPlausible(coding: string, body: Uint8Array): boolean {
  switch (coding) {
    case NOTHING:
      return body.length === 0;
    case 'aes128gcm':
      return isSealed(body) && !isText(body);
    case MLS:
      // ProtocolVersion mls10, and a WireFormat, of which 0 is reserved.
      return body.length > 4 && body[0] === 0 && body[1] === MLS_10 && (body[2] !== 0 || body[3] !== 0);
    default:
      return true;
  }
}

/** salt 16 | record size u32 | key id length u8 | key id | records, all but the last of the record size (RFC 8188 §2). */
function isSealed(body: Uint8Array): boolean {
  if (body.length < HEADER_BYTES) return false;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const recordSize = view.getUint32(SALT_BYTES);
  const recordsBytes = body.length - HEADER_BYTES - view.getUint8(SALT_BYTES + 4);
  if (recordSize < RECORD_SIZE_MIN || recordsBytes < RECORD_BYTES_MIN) return false;
  const lastBytes = recordsBytes % recordSize;
  return lastBytes === 0 || lastBytes >= RECORD_BYTES_MIN;
}

/**
 * UTF-8 without control characters. Text has the shape of a header by chance, since most of its bytes may stand
 * anywhere; but of 33 random bytes, the fewest that a body has, one in a billion is text.
 */
function isText(body: Uint8Array): boolean {
  for (const byte of body) {
    const isControl = byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
    if (isControl || byte === 0x7f) return false;
  }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(body);
    return true;
  } catch {
    // Not UTF-8, as ciphertext is.
    return false;
  }
}
