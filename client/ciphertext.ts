/**
 * What a client hands to a relay: a body and how it is encrypted.
 */

/** A body that is fit to be sent. */
export interface Ciphertext {
  readonly body: Uint8Array;
  /** The content coding `aes128gcm`, or a media type of ciphertext such as `message/mls`. */
  readonly coding: string;
}
