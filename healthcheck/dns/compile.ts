/**
 * The zone in wire format, compiled when it changes, so that failover costs no query anything.
 *
 * Names inside the records are compressed against the question, which every response repeats byte for byte: owners
 * point to offset 12, and what lies below the apex points to where the apex begins in the question. Only those
 * pointers depend on the question; they are left open here and written into each copy. Signatures come from a
 * function, so this file knows neither keys nor time. The result is plain data, so it can be sent to a worker.
 */
import type { RecordSet, Zone } from '../core/zone.ts';
import { addressBytes } from './address.ts';
import { coveringOwner, nsecData, sortNames } from './denial.ts';
import { CLASS_IN, HEADER_BYTES, TYPE } from './message.ts';
import { encodeName, labelsOf } from './name.ts';
import { createNameTable, type NameTable } from './name-table.ts';
import { type CanonicalSet, canonicalSets, soaData, typeOf } from './record-set.ts';

/** Some records as bytes, with the places where the pointer to the apex goes. */
export interface Section {
  readonly bytes: Uint8Array;
  readonly records: number;
  readonly apexPointersAt: readonly number[];
}

/** The same, and what it is to somebody who asks for signatures (DO); equal while the zone is not signed. */
interface Pair {
  readonly plain: Section;
  readonly signed: Section;
}

interface CompiledSet {
  /** Never empty. */
  readonly variants: readonly Pair[];
  readonly additional: Pair;
}

interface CompiledName {
  /** The first one is the answer to ANY; empty for a name that only has names below it (RFC 4592 §2.2.2). */
  readonly sets: ReadonlyMap<number, CompiledSet>;
  readonly noData: Pair;
  /** Which denial shows that there is no wildcard directly below this name. */
  readonly wildcardDenial: number;
}

export interface CompiledZone {
  /** Uncompressed, lower case. */
  readonly apex: Uint8Array;
  readonly table: NameTable;
  /** In the order of the table. */
  readonly names: readonly CompiledName[];
  readonly longestNameBytes: number;
  /** The SOA as it stands in negative responses (RFC 2308 §3). */
  readonly negative: Pair;
  /** NSEC records with their signatures, and their owners, both in canonical order; none when not signed. */
  readonly denials: readonly Section[];
  readonly denialOwners: readonly Uint8Array[];
}

/** The data of the RRSIG records over a set; none when nothing is signed. */
export type SignSet = (set: CanonicalSet) => readonly Uint8Array[];

export const NOTHING: Section = { bytes: new Uint8Array(0), records: 0, apexPointersAt: [] };
const NOTHING_EITHER_WAY: Pair = { plain: NOTHING, signed: NOTHING };

/** A zone that must not be served. Whoever catches it keeps what is served. */
class ZoneRefused extends Error {
  override readonly name = 'ZoneRefused';
}

/**
 * Compiles a zone to wire format, with signatures unless `sign` is undefined. Throws ZoneRefused on a zone without an
 * address at its apex: an empty answer is refused here too, whoever decided it.
 */
export function compileZone(zone: Zone, sign: SignSet | undefined): CompiledZone {
  const apexSets = zone.names.get(zone.apex) ?? [];
  if (!apexSets.some((set) => set.type === 'A' || set.type === 'AAAA')) {
    throw new ZoneRefused('a zone without an address at its apex would send everybody nowhere');
  }
  const denial = sign === undefined ? undefined : compileDenials(zone, sign);
  const negative = negativeOf(zone, sign);
  const glue = gatherGlue(zone, sign);
  const names = withAncestors(zone);
  const compiled = names.map((name) => {
    const sets = zone.names.get(name) ?? [];
    const own = denial === undefined ? -1 : denialFor(denial.owners, name);
    const nsec = denial?.sections[own];
    return {
      sets: compileSets(sets, name, zone.apex, glue, sign, denial?.sets.get(name)),
      noData: nsec === undefined ? negative : { plain: negative.plain, signed: join2(negative.signed, nsec) },
      wildcardDenial: denial === undefined ? -1 : denialFor(denial.owners, `*.${name}`),
    };
  });
  const wire = names.map((name) => encodeName(name));
  return {
    apex: encodeName(zone.apex),
    table: createNameTable(wire),
    names: compiled,
    longestNameBytes: Math.max(...wire.map((name) => name.length)),
    negative,
    denials: denial?.sections ?? [],
    denialOwners: denial?.owners ?? [],
  };
}

/** All names of the zone and those between them and the apex. */
function withAncestors(zone: Zone): readonly string[] {
  const names = new Set<string>([zone.apex]);
  for (const name of zone.names.keys()) {
    let at: string = name;
    while (at !== zone.apex && !names.has(at)) {
      names.add(at);
      at = at.slice(at.indexOf('.') + 1);
    }
  }
  return [...names];
}

function compileSets(
  sets: readonly RecordSet[],
  name: string,
  apex: string,
  glue: Pair,
  sign: SignSet | undefined,
  nsec: Pair | undefined,
): ReadonlyMap<number, CompiledSet> {
  const compiled = new Map<number, CompiledSet>();
  let signatures: Section | undefined;
  for (const set of sets) {
    const variants = canonicalSets(set, name).map((canonical, index) => {
      const records = dataOf(set, index, apex).map((data) =>
        record(OWNER_IS_QUESTION, canonical.type, set.ttlSeconds, data),
      );
      const over = signatureRecords(set, canonical, OWNER_IS_QUESTION, set.ttlSeconds, sign);
      if (over.length > 0) signatures = join(over);
      return { plain: join(records), signed: join([...records, ...over]) };
    });
    compiled.set(typeOf(set), { variants, additional: set.type === 'NS' ? glue : NOTHING_EITHER_WAY });
  }
  if (nsec !== undefined) {
    compiled.set(TYPE.NSEC, { variants: [nsec], additional: NOTHING_EITHER_WAY });
  }
  if (signatures !== undefined) {
    const pair: Pair = { plain: signatures, signed: signatures };
    compiled.set(TYPE.RRSIG, { variants: [pair], additional: NOTHING_EITHER_WAY });
  }
  return compiled;
}

/** RRSIG records over a set: those that came with it, or new ones. */
function signatureRecords(
  set: RecordSet,
  canonical: CanonicalSet,
  owner: Template,
  ttlSeconds: number,
  sign: SignSet | undefined,
): readonly Template[] {
  if (sign === undefined) return [];
  const given = set.type === 'other' ? set.signatures : undefined;
  return (given ?? sign(canonical)).map((data) => record(owner, TYPE.RRSIG, ttlSeconds, [...data]));
}

function negativeOf(zone: Zone, sign: SignSet | undefined): Pair {
  const { negativeTtlSeconds } = zone.soa;
  const set = (zone.names.get(zone.apex) ?? []).find((one) => one.type === 'SOA');
  const soa = record(APEX, TYPE.SOA, negativeTtlSeconds, soaTemplate(zone));
  const [canonical] = set === undefined ? [] : canonicalSets(set, zone.apex);
  const over =
    set === undefined || canonical === undefined
      ? []
      : signatureRecords(set, canonical, APEX, negativeTtlSeconds, sign);
  return { plain: join([soa]), signed: join([soa, ...over]) };
}

interface Denial {
  readonly owners: readonly Uint8Array[];
  readonly sections: readonly Section[];
  /** The same records as the answer to a question for NSEC. */
  readonly sets: ReadonlyMap<string, Pair>;
}

/** One NSEC for each name that has records (RFC 4035 §2.3), with the TTL of negative answers (RFC 9077). */
function compileDenials(zone: Zone, sign: SignSet): Denial {
  const { negativeTtlSeconds: ttlSeconds } = zone.soa;
  const names = sortNames([...zone.names.keys()]);
  const owners = names.map((name) => encodeName(name));
  const sets = new Map<string, Pair>();
  const sections = names.map((name, index) => {
    const types = [...(zone.names.get(name) ?? []).map(typeOf), TYPE.RRSIG, TYPE.NSEC];
    const next = owners[(index + 1) % owners.length] ?? new Uint8Array(1);
    const data = nsecData(next, types);
    const signatures = sign({ owner: name, type: TYPE.NSEC, ttlSeconds, data: [data] });
    const recordsOf = (owner: Template): readonly Template[] => [
      record(owner, TYPE.NSEC, ttlSeconds, [...data]),
      ...signatures.map((signature) => record(owner, TYPE.RRSIG, ttlSeconds, [...signature])),
    ];
    const [nsec = [], ...over] = recordsOf(OWNER_IS_QUESTION);
    sets.set(name, { plain: join([nsec]), signed: join([nsec, ...over]) });
    return join(recordsOf(nameData(name, zone.apex)));
  });
  return { owners, sections, sets };
}

function denialFor(owners: readonly Uint8Array[], name: string): number {
  const wire = encodeName(name);
  return coveringOwner(owners, wire, 0, wire.length);
}

/** The addresses of the zone's nameservers, which a response with NS records carries along. */
function gatherGlue(zone: Zone, sign: SignSet | undefined): Pair {
  const nameservers = (zone.names.get(zone.apex) ?? []).flatMap((set) =>
    set.type === 'NS' ? set.names : [],
  );
  const sets = nameservers.flatMap((name) =>
    (zone.names.get(name) ?? []).flatMap((set) => {
      const [canonical] = canonicalSets(set, name);
      if ((set.type !== 'A' && set.type !== 'AAAA') || canonical === undefined) return [];
      const owner = nameData(name, zone.apex);
      return [
        {
          records: dataOf(set, 0, zone.apex).map((data) =>
            record(owner, canonical.type, set.ttlSeconds, data),
          ),
          signatures: signatureRecords(set, canonical, owner, set.ttlSeconds, sign),
        },
      ];
    }),
  );
  return {
    plain: join(sets.flatMap(({ records }) => records)),
    signed: join(sets.flatMap(({ records, signatures }) => [...records, ...signatures])),
  };
}

/** Bytes in which `undefined` stands for the pointer to the apex. */
type Template = readonly (number | undefined)[];
const OWNER_IS_QUESTION: Template = [0xc0, HEADER_BYTES];
const APEX: Template = [undefined];

/** The data of a set's records as responses carry them: names in NS and SOA are compressed. */
function dataOf(set: RecordSet, variant: number, apex: string): readonly Template[] {
  switch (set.type) {
    case 'A':
    case 'AAAA':
      return (set.variants[variant] ?? []).map((address) => [...(addressBytes(address) ?? [])]);
    case 'NS':
      return set.names.map((name) => nameData(name, apex));
    case 'SOA':
      return [
        [
          ...nameData(set.soa.primary, apex),
          ...nameData(set.soa.contact, apex),
          ...soaData(set.soa).slice(-20),
        ],
      ];
    case 'other':
      return set.data.map((data) => [...data]);
  }
}

function soaTemplate({ soa, apex }: Zone): Template {
  return dataOf({ type: 'SOA', ttlSeconds: 0, soa }, 0, apex)[0] ?? [];
}

function record(owner: Template, type: number, ttlSeconds: number, data: Template): Template {
  const length = data.reduce<number>((sum, item) => sum + (item === undefined ? 2 : 1), 0);
  return [
    ...owner,
    ...u16(type),
    ...u16(CLASS_IN),
    ...u16(ttlSeconds >>> 16),
    ...u16(ttlSeconds),
    ...u16(length),
    ...data,
  ];
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

function join2(first: Section, second: Section): Section {
  return {
    bytes: Uint8Array.from([...first.bytes, ...second.bytes]),
    records: first.records + second.records,
    apexPointersAt: [...first.apexPointersAt, ...second.apexPointersAt.map((at) => at + first.bytes.length)],
  };
}

function nameData(name: string, apex: string): Template {
  if (name === apex) return APEX;
  if (name.endsWith(`.${apex}`)) return [...labelsOf(name.slice(0, -apex.length - 1)), undefined];
  return [...encodeName(name)];
}

function u16(value: number): readonly number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}
