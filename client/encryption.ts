/**
 * Message encryption for Web Push (RFC 8291), both directions, and the padding that hides how long a message is.
 *
 * The body of a message is padded, before it is encrypted, to the next bucket: 512 bytes, then powers of two, up to
 * the relay's limit. A relay learns the bucket and no more; the price is at most a doubling.
 */
import type { Random } from '../system/random.ts';
import { hkdf, open, overheadBytes, parseBody, SALT_BYTES, seal, TAG_BYTES } from './aes128gcm.ts';
import { type Bytes, concat, fromBase64url, utf8 } from './bytes.ts';
import type { Ciphertext } from './ciphertext.ts';
import { DecryptionError, UsageError } from './errors.ts';

/** What a sender needs to know to encrypt to a recipient; named as in the Push API's `PushSubscription`. */
export interface RecipientKeys {
  /** Uncompressed P-256 point, 65 bytes as base64url. */
  readonly p256dh: string;
  /** Authentication secret, 16 bytes as base64url. */
  readonly auth: string;
}

export type Padding = 'buckets' | 'none';

export const AUTH_BYTES = 16;
const POINT_BYTES = 65;
/** What RFC 8291 §4 lets every push service take. */
const COMMON_BODY_BYTES_MAX = 4096;
const BUCKET_BYTES_MIN = 512;
const OVERHEAD_BYTES: number = overheadBytes(POINT_BYTES);

/** The longest plaintext whose body has at most `bodyBytesMax` bytes: 3993 for 4096 (RFC 8291 §4). */
export function plaintextBytesMax(bodyBytesMax: number): number {
  return bodyBytesMax - OVERHEAD_BYTES;
}

/** Bytes of the body that a plaintext of `plaintextBytes` is padded to. */
export function bucketBytes(plaintextBytes: number, bodyBytesMax: number): number {
  let bucket = BUCKET_BYTES_MIN;
  while (bucket < plaintextBytes + OVERHEAD_BYTES) bucket *= 2;
  return Math.min(bucket, bodyBytesMax);
}

export interface EncryptOptions {
  readonly random: Random;
  /** The relay's `bodyBytesMax`, bytes; every push service takes 4096. */
  readonly bodyBytesMax: number;
  readonly padding: Padding;
}

/**
 * Encrypts to a recipient with a fresh key pair and salt, as one record. Throws `UsageError` when the keys are not
 * keys (recipient_keys_malformed) or the body would be too long (plaintext_too_large).
 */
export async function encrypt(
  plaintext: Uint8Array,
  recipient: RecipientKeys,
  options: EncryptOptions,
): Promise<Ciphertext> {
  const sender = await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']);
  const salt = new Uint8Array(options.random.bytes(SALT_BYTES));
  return { body: await encryptWith(plaintext, recipient, sender, salt, options), coding: 'aes128gcm' };
}

/** The same with a given key pair and salt; only for test vectors, since a repeated pair breaks the secrecy. */
export async function encryptWith(
  plaintext: Uint8Array,
  recipient: RecipientKeys,
  sender: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey },
  salt: Bytes,
  options: Pick<EncryptOptions, 'bodyBytesMax' | 'padding'>,
): Promise<Bytes> {
  if (plaintext.length > plaintextBytesMax(options.bodyBytesMax)) throw new UsageError('plaintext_too_large');
  const bodyBytes =
    options.padding === 'none'
      ? plaintext.length + OVERHEAD_BYTES
      : bucketBytes(plaintext.length, options.bodyBytesMax);
  const paddingBytes = bodyBytes - OVERHEAD_BYTES - plaintext.length;
  const recordBytes = plaintext.length + paddingBytes + 1 + TAG_BYTES;
  const auth = fromBase64url(recipient.auth);
  const recipientPoint = fromBase64url(recipient.p256dh);
  if (auth?.length !== AUTH_BYTES || recipientPoint?.length !== POINT_BYTES) {
    throw new UsageError('recipient_keys_malformed');
  }
  const recipientKey = await importPoint(recipientPoint).catch((error: unknown) => {
    throw new UsageError('recipient_keys_malformed', { cause: error });
  });
  const senderPoint = new Uint8Array(await crypto.subtle.exportKey('raw', sender.publicKey));
  const inputKey = await inputKeyOf(
    { privateKey: sender.privateKey, publicKey: recipientKey },
    { auth, recipientPoint, senderPoint },
  );
  return seal(plaintext, {
    inputKey,
    salt,
    keyId: senderPoint,
    // 4096 like everybody else as long as it fits, so that the header tells nothing; the size must exceed the record.
    recordSize: Math.max(COMMON_BODY_BYTES_MAX, recordBytes + 1),
    paddingBytes,
  });
}

/** What a recipient needs to decrypt. */
export interface DecryptionKeys {
  readonly privateKey: CryptoKey;
  /** Its own public key as an uncompressed point, 65 bytes. */
  readonly point: Bytes;
  readonly auth: Bytes;
}

/** Decrypts a body, strictly. Throws `DecryptionError`. */
export async function decrypt(body: Uint8Array, recipient: DecryptionKeys): Promise<Bytes> {
  const sealed = parseBody(body);
  if (sealed.keyId.length !== POINT_BYTES) throw new DecryptionError('malformed');
  let publicKey: CryptoKey;
  try {
    publicKey = await importPoint(sealed.keyId);
  } catch (error) {
    throw new DecryptionError('malformed', { cause: error });
  }
  const inputKey = await inputKeyOf(
    { privateKey: recipient.privateKey, publicKey },
    { auth: recipient.auth, recipientPoint: recipient.point, senderPoint: sealed.keyId },
  );
  return open(sealed, inputKey);
}

/** RFC 8291 §3.4. */
async function inputKeyOf(
  pair: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey },
  context: { readonly auth: Bytes; readonly recipientPoint: Bytes; readonly senderPoint: Bytes },
): Promise<Bytes> {
  const algorithm = { name: 'ECDH', public: pair.publicKey };
  const shared = new Uint8Array(await crypto.subtle.deriveBits(algorithm, pair.privateKey, 256));
  const info = concat(utf8('WebPush: info\0'), context.recipientPoint, context.senderPoint);
  return hkdf(shared, context.auth, info, 32);
}

function importPoint(point: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', point, { name: 'ECDH', namedCurve: 'P-256' }, true, []);
}
