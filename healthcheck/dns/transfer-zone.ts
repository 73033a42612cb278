/**
 * The zone as standard secondaries get it (RFC 5936): every record in full, signed, with one fixed TTL for the answer,
 * since a secondary cannot know how long an answer will hold.
 *
 * Its serial is the time of its last change and not the one in our own answers: a secondary keeps to the highest
 * serial that it has seen, and the generation begins anew when a vantage loses its state. It also asks for news every
 * minute, should a NOTIFY be lost.
 */
import type { RecordSet, Zone } from '../core/zone.ts';
import type { SignSet } from './compile.ts';
import { nsecData, sortNames } from './denial.ts';
import { CLASS_IN, TYPE } from './message.ts';
import { encodeName } from './name.ts';
import { canonicalSets, typeOf } from './record-set.ts';

export interface TransferZone {
  readonly apex: string;
  readonly serial: number;
  /** The SOA record and the signatures over it, uncompressed. */
  readonly soa: readonly Uint8Array[];
  /** Every other record, uncompressed. */
  readonly records: readonly Uint8Array[];
}

const REFRESH_SECONDS = 60;
const RETRY_SECONDS = 15;

/**
 * The records of `zone` with `ttlSeconds` for the addresses at its apex. The same serial as in `previous` when nothing
 * but the SOA would differ; otherwise a later one, by RFC 1982: `nowSeconds` since 1970, or one more than the last.
 */
export function compileTransfer(
  zone: Zone,
  sign: SignSet | undefined,
  { ttlSeconds, nowSeconds, previous }: TransferTerms,
): TransferZone {
  const names = sortNames([...zone.names.keys()]);
  const records = names.flatMap((name, index) => {
    const sets = (zone.names.get(name) ?? []).filter((set) => set.type !== 'SOA');
    const own = sets.flatMap((set) =>
      recordsOf(fixed(set, name === zone.apex ? ttlSeconds : undefined), name, sign),
    );
    if (sign === undefined) return own;
    const next = names[(index + 1) % names.length] ?? name;
    return [...own, ...denialRecords(zone, name, next, sign)];
  });
  const isSame =
    previous !== undefined &&
    previous.records.length === records.length &&
    previous.records.every((record, index) => Buffer.compare(record, records[index] ?? record) === 0);
  if (isSame) return previous;
  const serial = previous === undefined ? nowSeconds : Math.max(nowSeconds, previous.serial + 1);
  const soa = { ...zone.soa, serial, refreshSeconds: REFRESH_SECONDS, retrySeconds: RETRY_SECONDS };
  const soaTtlSeconds =
    (zone.names.get(zone.apex) ?? []).find((set) => set.type === 'SOA')?.ttlSeconds ?? ttlSeconds;
  return {
    apex: zone.apex,
    serial,
    soa: recordsOf({ type: 'SOA', ttlSeconds: soaTtlSeconds, soa }, zone.apex, sign),
    records,
  };
}

export interface TransferTerms {
  readonly ttlSeconds: number;
  readonly nowSeconds: number;
  readonly previous: TransferZone | undefined;
}

function fixed(set: RecordSet, ttlSeconds: number | undefined): RecordSet {
  return ttlSeconds !== undefined && (set.type === 'A' || set.type === 'AAAA')
    ? { ...set, ttlSeconds, signedTtlSeconds: ttlSeconds }
    : set;
}

function recordsOf(set: RecordSet, name: string, sign: SignSet | undefined): readonly Uint8Array[] {
  const [canonical] = canonicalSets(set, name);
  if (canonical === undefined) return [];
  const given = set.type === 'other' ? set.signatures : undefined;
  const signatures = sign === undefined ? [] : (given ?? sign(canonical));
  return [
    ...canonical.data.map((data) => wireRecord(name, canonical.type, set.ttlSeconds, data)),
    ...signatures.map((data) => wireRecord(name, TYPE.RRSIG, set.ttlSeconds, data)),
  ];
}

function denialRecords(zone: Zone, name: string, next: string, sign: SignSet): readonly Uint8Array[] {
  const { negativeTtlSeconds: ttlSeconds } = zone.soa;
  const types = [...(zone.names.get(name) ?? []).map(typeOf), TYPE.RRSIG, TYPE.NSEC];
  const data = nsecData(encodeName(next), types);
  const signatures = sign({ owner: name, type: TYPE.NSEC, ttlSeconds, data: [data] });
  return [
    wireRecord(name, TYPE.NSEC, ttlSeconds, data),
    ...signatures.map((signature) => wireRecord(name, TYPE.RRSIG, ttlSeconds, signature)),
  ];
}

function wireRecord(name: string, type: number, ttlSeconds: number, data: Uint8Array): Uint8Array {
  const owner = encodeName(name);
  const record = Buffer.alloc(owner.length + 10 + data.length);
  record.set(owner);
  record.writeUInt16BE(type, owner.length);
  record.writeUInt16BE(CLASS_IN, owner.length + 2);
  record.writeUInt32BE(ttlSeconds, owner.length + 4);
  record.writeUInt16BE(data.length, owner.length + 8);
  record.set(data, owner.length + 10);
  return record;
}
