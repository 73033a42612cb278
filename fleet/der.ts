/**
 * Just enough of DER (ITU-T X.690) to write a certificate: tag, length, value, and the few types that X.509 uses.
 *
 * Writing only. Certificates are made here and read by TLS libraries; nothing in this project parses DER.
 */

/** One encoded value. */
export type Der = Buffer;

function tagged(tag: number, content: Uint8Array): Der {
  const length = content.length;
  if (length < 0x80) return Buffer.concat([Uint8Array.of(tag, length), content]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  if (length > 0xffff) throw new RangeError(`a DER value of ${length} bytes; at most 65535 can be written`);
  return Buffer.concat([Uint8Array.of(tag, 0x80 | bytes.length, ...bytes), content]);
}

export function sequence(...parts: readonly Der[]): Der {
  return tagged(0x30, Buffer.concat(parts));
}

export function setOf(part: Der): Der {
  return tagged(0x31, part);
}

/** A non-negative INTEGER from its big-endian bytes. */
export function integerFrom(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const digits = bytes.subarray(start);
  return tagged(0x02, (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), digits]) : digits);
}

export function boolean(value: boolean): Der {
  return tagged(0x01, Uint8Array.of(value ? 0xff : 0));
}

export function octets(content: Uint8Array): Der {
  return tagged(0x04, content);
}

/** `unusedBits` counts from the end of the last byte. */
export function bits(content: Uint8Array, unusedBits = 0): Der {
  return tagged(0x03, Buffer.concat([Uint8Array.of(unusedBits), content]));
}

export function utf8(text: string): Der {
  return tagged(0x0c, Buffer.from(text));
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function objectId(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const digits = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return tagged(0x06, Uint8Array.from(bytes));
}

/** UTCTime; RFC 5280 §4.1.2.5 asks for it for dates through 2049. `wallMs` counts since 1970. */
export function utcTime(wallMs: number): Der {
  const text = new Date(wallMs).toISOString().replaceAll(/[-:T]|\.\d{3}/g, '');
  return tagged(0x17, Buffer.from(text.slice(2)));
}

/** `[number]` around a whole value. */
export function explicit(number: number, content: Der): Der {
  return tagged(0xa0 | number, content);
}

/** `[number]` in place of a primitive value's own tag. */
export function implicit(number: number, content: Uint8Array): Der {
  return tagged(0x80 | number, content);
}
