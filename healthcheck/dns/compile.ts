/**
 * The zone in wire format, compiled when it changes, so that failover costs no query anything.
 *
 * Names inside the records are compressed against the question, which every response repeats byte for byte: owners
 * point to offset 12, and what lies below the apex points to where the apex begins in the question. Only those
 * pointers depend on the question; they are left open here and written into each copy.
 */
import type { RecordSet, Soa, Zone } from '../core/zone.ts';
import { addressBytes } from './address.ts';
import { CLASS_IN, HEADER_BYTES, TYPE } from './message.ts';
import { encodeName, labelsOf, nameKey } from './name.ts';

/** Some records as bytes, with the places where the pointer to the apex goes. */
export interface Section {
  readonly bytes: Uint8Array;
  readonly records: number;
  readonly apexPointersAt: readonly number[];
}

interface CompiledSet {
  /** Never empty. */
  readonly variants: readonly Section[];
  readonly additional: Section;
}

export interface CompiledZone {
  readonly apexKey: string;
  readonly names: ReadonlyMap<string, ReadonlyMap<number, CompiledSet>>;
  /** The SOA as it stands in negative responses (RFC 2308 §3). */
  readonly negative: Section;
}

export const NOTHING: Section = { bytes: new Uint8Array(0), records: 0, apexPointersAt: [] };

/** Compiles a zone to wire format; throws on a zone that is not well formed, which only a bug makes. */
export function compileZone(zone: Zone): CompiledZone {
  const glue = gatherGlue(zone);
  const names = new Map<string, ReadonlyMap<number, CompiledSet>>();
  for (const [name, sets] of zone.names) {
    names.set(keyFor(name), new Map(sets.map((set) => [TYPE[set.type], compileSet(set, zone.apex, glue)])));
  }
  const { negativeTtlSeconds } = zone.soa;
  const negative = join([record(APEX, TYPE.SOA, negativeTtlSeconds, soaData(zone.soa, zone.apex))]);
  return { apexKey: keyFor(zone.apex), names, negative };
}

function compileSet(set: RecordSet, apex: string, glue: Section): CompiledSet {
  const own = [...OWNER_IS_QUESTION];
  switch (set.type) {
    case 'A':
    case 'AAAA':
      return {
        variants: set.variants.map((addresses) =>
          join(addresses.map((address) => record(own, TYPE[set.type], set.ttlSeconds, addressData(address)))),
        ),
        additional: NOTHING,
      };
    case 'NS':
      return {
        variants: [join(set.names.map((name) => record(own, TYPE.NS, set.ttlSeconds, nameData(name, apex))))],
        additional: glue,
      };
    case 'SOA':
      return {
        variants: [join([record(own, TYPE.SOA, set.ttlSeconds, soaData(set.soa, apex))])],
        additional: NOTHING,
      };
  }
}

/** The addresses of the zone's nameservers, which a response with NS records carries along. */
function gatherGlue(zone: Zone): Section {
  const nameservers = (zone.names.get(zone.apex) ?? []).flatMap((set) =>
    set.type === 'NS' ? set.names : [],
  );
  return join(
    nameservers.flatMap((name) =>
      (zone.names.get(name) ?? []).flatMap((set) =>
        set.type === 'A' || set.type === 'AAAA'
          ? (set.variants[0] ?? []).map((address) =>
              record(nameData(name, zone.apex), TYPE[set.type], set.ttlSeconds, addressData(address)),
            )
          : [],
      ),
    ),
  );
}

const OWNER_IS_QUESTION = [0xc0, HEADER_BYTES];

/** Bytes in which `undefined` stands for the pointer to the apex. */
type Template = readonly (number | undefined)[];
const APEX: Template = [undefined];

function record(owner: Template, type: number, ttlSeconds: number, data: Template): Template {
  const length = data.reduce<number>((sum, item) => sum + (item === undefined ? 2 : 1), 0);
  return [...owner, ...u16(type), ...u16(CLASS_IN), ...u32(ttlSeconds), ...u16(length), ...data];
}

function join(templates: readonly Template[]): Section {
  const bytes: number[] = [];
  const apexPointersAt: number[] = [];
  for (const item of templates.flat()) {
    if (item === undefined) {
      apexPointersAt.push(bytes.length);
      bytes.push(0, 0);
    } else bytes.push(item);
  }
  return { bytes: Uint8Array.from(bytes), records: templates.length, apexPointersAt };
}

function nameData(name: string, apex: string): Template {
  if (name === apex) return APEX;
  if (name.endsWith(`.${apex}`)) return [...labelsOf(name.slice(0, -apex.length - 1)), undefined];
  return [...encodeName(name)];
}

function addressData(address: string): Template {
  const bytes = addressBytes(address);
  if (bytes === undefined) throw new TypeError('a zone holds only IP addresses');
  return [...bytes];
}

function soaData(soa: Soa, apex: string): Template {
  return [
    ...nameData(soa.primary, apex),
    ...nameData(soa.contact, apex),
    ...u32(soa.serial),
    ...u32(soa.refreshSeconds),
    ...u32(soa.retrySeconds),
    ...u32(soa.expireSeconds),
    ...u32(soa.negativeTtlSeconds),
  ];
}

function keyFor(name: string): string {
  const bytes = encodeName(name);
  return nameKey(bytes, 0, bytes.length);
}

function u16(value: number): readonly number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}

function u32(value: number): readonly number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}
