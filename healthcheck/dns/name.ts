/**
 * Domain names on the wire (RFC 1035 §3.1, §4.1.4): text to labels and back, within the limits of 63 bytes a label
 * and 255 a name. Nothing here throws on bytes from outside.
 */
const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
const POINTER = 0xc0;

/** The labels of a name given as text, without the root's final zero byte; throws on a name of our own that is too long. */
export function labelsOf(name: string): Uint8Array {
  const labels = name === '' || name === '.' ? [] : name.replace(/\.$/, '').split('.');
  const bytes = labels.flatMap((label) => [label.length, ...Buffer.from(label, 'latin1')]);
  if (
    bytes.length + 1 > NAME_BYTES_MAX ||
    labels.some((label) => label === '' || label.length > LABEL_BYTES_MAX)
  ) {
    throw new RangeError(`${JSON.stringify(name)} is no domain name`);
  }
  return Uint8Array.from(bytes);
}

/** A name without compression, with its final zero byte. */
export function encodeName(name: string): Uint8Array {
  return Uint8Array.from([...labelsOf(name), 0]);
}

/**
 * Where the uncompressed name at `offset` ends (one past its zero byte), or undefined when it is compressed, too
 * long or cut off.
 */
export function endOfPlainName(bytes: Uint8Array, offset: number): number | undefined {
  let at = offset;
  while (at < bytes.length && at - offset < NAME_BYTES_MAX) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 1;
    if (length > LABEL_BYTES_MAX) return undefined;
    at += length + 1;
  }
  return undefined;
}

/** Whether the uncompressed name at `bytes[start]` to `end`, in any case, is the one given as lower-case text. */
export function isNameText(bytes: Uint8Array, start: number, end: number, name: string): boolean {
  const found = Buffer.from(bytes.subarray(start, end)).toString('latin1').toLowerCase();
  return found === Buffer.from(encodeName(name)).toString('latin1');
}

/**
 * Reads a name that may be compressed. Each pointer must lead before everything read so far, so reading ends. Gives
 * the text (other bytes than letters, digits, `-` and `_` as `\ddd`) and where the name's first part ends.
 */
export function readName(
  bytes: Uint8Array,
  offset: number,
): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = offset;
  let lowest = offset;
  let end: number | undefined;
  let total = 1;
  while (at < bytes.length) {
    const length = bytes[at] ?? 0;
    if (length === 0) return { name: labels.join('.'), end: end ?? at + 1 };
    if (length >= POINTER) {
      const target = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0);
      if (at + 1 >= bytes.length || target >= lowest) return undefined;
      end ??= at + 2;
      lowest = target;
      at = target;
      continue;
    }
    total += length + 1;
    if (length > LABEL_BYTES_MAX || total > NAME_BYTES_MAX || at + 1 + length > bytes.length)
      return undefined;
    labels.push(labelText(bytes.subarray(at + 1, at + 1 + length)));
    at += length + 1;
  }
  return undefined;
}

function labelText(label: Uint8Array): string {
  return Array.from(label, (byte) => {
    const character = String.fromCharCode(byte);
    return /[\w-]/.test(character) ? character : `\\${String(byte).padStart(3, '0')}`;
  }).join('');
}
