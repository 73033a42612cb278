/**
 * Reading and writing big-endian binary records and frames.
 *
 * The reader never throws and never reads past the end: once a read does not fit, `broken` is true and everything
 * read afterwards is zero or empty, so a parser reads straight through and checks once at the end.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  #offset = 0;
  #broken = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  /** True when a read did not fit, or when bytes are left over. Check it after the last read. */
  get malformed(): boolean {
    return this.#broken || this.#offset !== this.#bytes.length;
  }

  /** True when a read did not fit. For loops whose count came from the input. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Declares the input malformed: a value that was read means nothing. */
  refuse(): void {
    this.#broken = true;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** The next `length` bytes, as a view on the input and not a copy. */
  bytes(length: number): Buffer {
    const at = this.#pass(length);
    return at < 0 ? Buffer.alloc(0) : this.#bytes.subarray(at, at + length);
  }

  u8(): number {
    const at = this.#pass(1);
    return at < 0 ? 0 : this.#bytes.readUInt8(at);
  }

  u16(): number {
    const at = this.#pass(2);
    return at < 0 ? 0 : this.#bytes.readUInt16BE(at);
  }

  u32(): number {
    const at = this.#pass(4);
    return at < 0 ? 0 : this.#bytes.readUInt32BE(at);
  }

  /** Unsigned, 8 bytes on the wire, at most 2^53 − 1; more counts as malformed. */
  u53(): number {
    const high = this.u32();
    const low = this.u32();
    if (high < 2 ** 21) return high * 2 ** 32 + low;
    this.#broken = true;
    return 0;
  }

  u64(): bigint {
    const at = this.#pass(8);
    return at < 0 ? 0n : this.#bytes.readBigUInt64BE(at);
  }

  base64url(length: number): string {
    const at = this.#pass(length);
    return at < 0 ? '' : this.#bytes.toString('base64url', at, at + length);
  }

  /** Any bytes, as as many characters. */
  latin1(length: number): string {
    const at = this.#pass(length);
    return at < 0 ? '' : this.#bytes.toString('latin1', at, at + length);
  }

  /** Printable ASCII behind a length of one byte; anything else counts as malformed. */
  shortText(): string {
    const text = this.latin1(this.u8());
    if (!/^[\x20-\x7e]*$/.test(text)) this.#broken = true;
    return text;
  }

  /** Bytes behind a length of four bytes. */
  block(): Buffer {
    return this.bytes(this.u32());
  }

  /** Where the next `length` bytes are, which count as read; less than 0 when they do not fit. */
  #pass(length: number): number {
    if (length > this.#bytes.length - this.#offset) {
      this.#broken = true;
      this.#offset = this.#bytes.length;
      return -1;
    }
    this.#offset += length;
    return this.#offset - length;
  }
}

/** The same bytes with Buffer's methods, not a copy; a Buffer is itself. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const BYTES_AT_FIRST = 512;

/** Writes fields one after the other into one buffer. */
export class ByteWriter {
  #buffer: Buffer;
  #used = 0;

  /** `bytes`: how many there will be, as far as that is known; more find room as well. */
  constructor(bytes: number = BYTES_AT_FIRST) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  bytes(part: Uint8Array): this {
    const at = this.#take(part.length);
    this.#buffer.set(part, at);
    return this;
  }

  u8(value: number): this {
    const at = this.#take(1);
    this.#buffer[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#take(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#take(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  /** Modulo 2^64. */
  u64(value: bigint): this {
    const at = this.#take(8);
    this.#buffer.writeBigUInt64BE(BigInt.asUintN(64, value), at);
    return this;
  }

  u53(value: number): this {
    const at = this.#take(8);
    this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), at);
    this.#buffer.writeUInt32BE(value % 2 ** 32, at + 4);
    return this;
  }

  /** The bytes that a text in base64url stands for. */
  base64url(text: string): this {
    const length = Math.floor((text.length * 3) / 4);
    const at = this.#take(length);
    const written = this.#buffer.write(text, at, length, 'base64url');
    // What is no base64url is written as zeros, never as what was in this memory before.
    this.#buffer.fill(0, at + written, at + length);
    return this;
  }

  /** ASCII without a length; at most 255 characters. */
  ascii(text: string): this {
    const at = this.#take(text.length);
    this.#buffer.write(text, at, 'latin1');
    return this;
  }

  shortText(text: string): this {
    return this.u8(text.length).ascii(text);
  }

  block(part: Uint8Array): this {
    return this.u32(part.length).bytes(part);
  }

  /** What was written, as a view on the buffer. */
  finish(): Buffer {
    return this.#used === this.#buffer.length ? this.#buffer : this.#buffer.subarray(0, this.#used);
  }

  /** Room for a field: where it begins. */
  #take(length: number): number {
    const at = this.#used;
    this.#used += length;
    if (this.#used > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#used, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
    }
    return at;
  }
}
