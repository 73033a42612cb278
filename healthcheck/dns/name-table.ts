/**
 * A look-up from names as they stand in packets, in any case, to numbers: a hash table over the bytes themselves, so
 * that a query makes no string. It holds only names of our own, so nobody outside can make its chains long. Plain
 * data, so that it can be sent to a worker.
 */

export interface NameTable {
  readonly slots: Int32Array;
  /** Uncompressed, lower case, in the order in which they were given. */
  readonly names: readonly Uint8Array[];
}

/** `names` are different ones, uncompressed and in lower case; the first is found soonest. */
export function createNameTable(names: readonly Uint8Array[]): NameTable {
  const size = 2 ** Math.ceil(Math.log2(names.length * 2 + 1));
  const slots = new Int32Array(size).fill(-1);
  names.forEach((name, index) => {
    let slot = hashName(name, 0, name.length) & (size - 1);
    while (slots[slot] !== -1) slot = (slot + 1) & (size - 1);
    slots[slot] = index;
  });
  return { slots, names };
}

/** The number of the name at `bytes[start]` to `end`, or -1. */
export function findName(table: NameTable, bytes: Uint8Array, start: number, end: number): number {
  const [first] = table.names;
  if (first !== undefined && isSameName(bytes, start, end, first)) return 0;
  const mask = table.slots.length - 1;
  let slot = hashName(bytes, start, end) & mask;
  for (;;) {
    const index = table.slots[slot] ?? -1;
    if (index === -1) return -1;
    const name = table.names[index];
    if (name !== undefined && isSameName(bytes, start, end, name)) return index;
    slot = (slot + 1) & mask;
  }
}

/** Whether `bytes[start]` to `end` is `name`, which is in lower case, whatever the case of the former. */
function isSameName(bytes: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  if (end - start !== name.length) return false;
  for (let index = 0; index < name.length; index += 1) {
    const byte = bytes[start + index] ?? 0;
    if (byte !== name[index] && lower(byte) !== name[index]) return false;
  }
  return true;
}

/** Letters to lower case; length bytes are below 64 and never letters. */
export function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte + 32 : byte;
}

/** FNV-1a. */
function hashName(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c_9dc5;
  for (let at = start; at < end; at += 1) hash = Math.imul(hash ^ lower(bytes[at] ?? 0), 0x0100_0193);
  return hash ^ (hash >>> 15);
}
