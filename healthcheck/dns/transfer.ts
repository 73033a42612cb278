/**
 * What secondaries ask (RFC 5936, RFC 1995, RFC 1996), and only they: every request is signed with a key that they share
 * with this nameserver (TSIG). AXFR gives the whole zone; so does IXFR, unless the secondary has it already; SOA gives
 * the serial of what a transfer would give.
 */
import { CLASS_IN, HEADER_BYTES, RCODE_NUMBERS, type Rcode, TYPE } from './message.ts';
import { isNameText } from './name.ts';
import type { Query } from './query.ts';
import type { TransferZone } from './transfer-zone.ts';
import { openTsig, refuseTsig, sealTsig, type TsigKey } from './tsig.ts';

export interface TransferReply {
  readonly rcode: Rcode;
  /** One over UDP. */
  readonly messages: readonly Uint8Array[];
}

export interface TransferOptions {
  readonly keys: readonly TsigKey[];
  readonly zone: () => TransferZone | undefined;
}

/** Answers a request that carries a TSIG. `nowSeconds` since 1970. */
export type AnswerTransfer = (
  packet: Uint8Array,
  query: Query,
  transport: 'udp' | 'tcp',
  nowSeconds: number,
) => TransferReply;

/** Messages leave room for a TSIG, and for what a client may find a reasonable size. */
const MESSAGE_BYTES_MAX = 16_000;

/** Without keys every request is refused with BADKEY. */
export function createTransfers({ keys, zone }: TransferOptions): AnswerTransfer {
  return (packet, query, transport, nowSeconds) => {
    const opened = openTsig(packet, query.tsigAt, keys, nowSeconds);
    if (!opened.ok) {
      const { error, request } = opened.fault;
      const bare = messageOf(packet, query, 'NOTAUTH', []);
      const message =
        request === undefined
          ? refuseTsig(packet, query.tsigAt, bare, error)
          : sealTsig(bare, { key: request.key, nowSeconds, prior: request.mac, error }).message;
      return { rcode: 'NOTAUTH', messages: [message] };
    }
    const { rcode, batches } = contentFor(packet, query, transport, zone());
    let prior = opened.value.mac;
    const messages = batches.map((records, index) => {
      const bare = messageOf(packet, query, rcode, records);
      const sealed = sealTsig(bare, { key: opened.value.key, nowSeconds, prior, isFurther: index > 0 });
      prior = sealed.mac;
      return sealed.message;
    });
    return { rcode, messages };
  };
}

/** The records of each message. */
function contentFor(
  packet: Uint8Array,
  query: Query,
  transport: 'udp' | 'tcp',
  zone: TransferZone | undefined,
): { readonly rcode: Rcode; readonly batches: readonly (readonly Uint8Array[])[] } {
  if (zone === undefined) return { rcode: 'SERVFAIL', batches: [[]] };
  const isOurs = query.class === CLASS_IN && isNameText(packet, HEADER_BYTES, query.nameEnd, zone.apex);
  if (!isOurs) return { rcode: 'NOTAUTH', batches: [[]] };
  const [soa = new Uint8Array(0)] = zone.soa;
  // One record: Knot takes a signature beside it for a malformed answer.
  if (query.type === TYPE.SOA) return { rcode: 'NOERROR', batches: [[soa]] };
  const isIncremental = query.type === TYPE.IXFR;
  // Over UDP the serial alone says whether to come back over TCP (RFC 1995 §4).
  if (isIncremental && (transport === 'udp' || query.knownSerial === zone.serial)) {
    return { rcode: 'NOERROR', batches: [[soa]] };
  }
  if (transport === 'udp' || (query.type !== TYPE.AXFR && !isIncremental))
    return { rcode: 'REFUSED', batches: [[]] };
  return { rcode: 'NOERROR', batches: inBatches([...zone.soa, ...zone.records, soa]) };
}

function inBatches(records: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const batches: Uint8Array[][] = [[]];
  let bytes = 0;
  for (const record of records) {
    if (bytes + record.length > MESSAGE_BYTES_MAX) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(record);
    bytes += record.length;
  }
  return batches;
}

/** Header, the question as it came, and answers. */
function messageOf(
  packet: Uint8Array,
  query: Query,
  rcode: Rcode,
  records: readonly Uint8Array[],
): Uint8Array {
  const head = Buffer.from(packet.subarray(0, query.questionEnd));
  head.writeUInt16BE(0x8000 | (rcode === 'NOERROR' ? 0x0400 : 0) | RCODE_NUMBERS[rcode], 2);
  head.writeUInt16BE(query.questionEnd === HEADER_BYTES ? 0 : 1, 4);
  head.writeUInt16BE(records.length, 6);
  head.fill(0, 8, HEADER_BYTES);
  return Buffer.concat([head, ...records]);
}
