/**
 * Hashes as names: the first 16 bytes of a SHA-256 as base64url, 22 characters. Made as text from the beginning, because a
 * buffer for the bytes costs more than hashing them.
 */
import { hash } from 'node:crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** Of the last character, by its code, only the two bits that belong to the sixteenth byte (RFC 4648 §5). */
const LAST: readonly string[] = Array.from({ length: 128 }, (_, code) => {
  const value = ALPHABET.indexOf(String.fromCharCode(code));
  return ALPHABET[value & 0b110000] ?? '';
});

/** 16 bytes of SHA-256 as base64url. */
export function shortHash(bytes: Uint8Array): string {
  const text = hash('sha256', bytes, 'base64url');
  return text.slice(0, 21) + (LAST[text.charCodeAt(21)] ?? '');
}

/** The same 16 bytes, a character for each (Latin-1). */
export function shortHashBytes(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'latin1').slice(0, 16);
}
