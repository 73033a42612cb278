/**
 * Many datagrams with one system call: `recvmmsg` and `sendmmsg` (Linux), which Node has no other way to. Receiving and
 * sending one by one is nine tenths of what an answer costs, so this is what makes the nameserver fast.
 *
 * The calls go through `node:ffi`, which may be missing: then `canBatch` is false, and one socket of Node's own serves
 * instead (udp-socket.ts). All memory that the kernel reads and writes here is one block of fixed size and layout, that of
 * 64-bit Linux, little-endian; nothing in it depends on what a packet says.
 */
import { endianness } from 'node:os';
import type { Endpoint } from '../../system/settings.ts';
import { addressBytes } from '../dns/address.ts';
import { UDP_BYTES_MAX } from '../dns/respond.ts';
import { listenError } from './listen.ts';

/** <bits/socket.h>, <asm-generic/socket.h>, <errno.h> of Linux. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2_000_000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_RCVTIMEO = 20;
const MSG_DONTWAIT = 0x40;
const MSG_WAITFORONE = 0x1_0000;
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  13: 'EACCES',
  97: 'EAFNOSUPPORT',
  98: 'EADDRINUSE',
  99: 'EADDRNOTAVAIL',
};

/** How long `receive` waits for the first datagram, and so how late a thread that waits hears of a new zone. */
const RECEIVE_WITHIN_MS = 25;
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
/** Larger batches save nothing more, and make the first reply wait for the last query. */
const BATCH = 64;

type Library = ReturnType<typeof loadLibrary>;
let library: Library | undefined;

/** Whether this machine and this Node can send and receive in batches. */
export function canBatch(): boolean {
  return (
    process.platform === 'linux' &&
    endianness() === 'LE' &&
    ['x64', 'arm64'].includes(process.arch) &&
    ffi() !== undefined
  );
}

/** Node says once that this module may change; it is pinned, proved by tests and replaceable, so nobody has to read that. */
function ffi(): typeof import('node:ffi') | undefined {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    return process.getBuiltinModule('node:ffi');
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

function loadLibrary() {
  const module = ffi();
  if (module === undefined) throw new Error('node:ffi is missing');
  const functions = new module.DynamicLibrary(null).getFunctions({
    socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
    setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'] },
    bind: { return: 'i32', arguments: ['i32', 'pointer', 'u32'] },
    close: { return: 'i32', arguments: ['i32'] },
    recvmmsg: { return: 'i32', arguments: ['i32', 'pointer', 'u32', 'i32', 'pointer'] },
    sendmmsg: { return: 'i32', arguments: ['i32', 'pointer', 'u32', 'i32'] },
    __errno_location: { return: 'pointer', arguments: [] },
  });
  return {
    ...functions,
    addressOf: (bytes: ArrayBuffer) => module.getRawPointer(bytes),
    read: module.getInt32,
  };
}

function calls(): Library {
  library ??= loadLibrary();
  return library;
}

/**
 * A UDP socket at the endpoint, as a file descriptor; `shared`: others may be bound there too, and the kernel spreads
 * clients over them (SO_REUSEPORT). Throws a ListenError.
 */
export function openDatagrams(endpoint: Endpoint, shared: boolean): number {
  const { socket, setsockopt, bind, close, addressOf, read, __errno_location: errnoAt } = calls();
  const isIpv6 = endpoint.host.includes(':');
  const failed = (): Error => {
    const code = ERRNO_NAMES[read(errnoAt())] ?? 'the system refuses';
    return listenError('DNS over UDP', endpoint, Object.assign(new Error(code), { code }));
  };
  const fd = socket(isIpv6 ? AF_INET6 : AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) throw failed();
  const set = (option: number, ...words: readonly bigint[]): void => {
    const value = BigInt64Array.from(words);
    setsockopt(fd, SOL_SOCKET, option, addressOf(value.buffer), option === SO_RCVTIMEO ? 16 : 4);
  };
  if (shared) set(SO_REUSEPORT, 1n);
  set(SO_RCVBUF, BigInt(SOCKET_BUFFER_BYTES));
  set(SO_SNDBUF, BigInt(SOCKET_BUFFER_BYTES));
  set(SO_RCVTIMEO, 0n, BigInt(RECEIVE_WITHIN_MS * 1000));
  const name = socketName(endpoint, isIpv6);
  if (bind(fd, addressOf(name), name.byteLength) < 0) {
    const error = failed();
    close(fd);
    throw error;
  }
  return fd;
}

/** Closes what `openDatagrams` gave; nobody may use it any more. */
export function closeDatagrams(fd: number): void {
  calls().close(fd);
}

/** struct sockaddr_in or sockaddr_in6. */
function socketName({ host, port }: Endpoint, isIpv6: boolean): ArrayBuffer {
  const name = new Uint8Array(isIpv6 ? 28 : 16);
  const view = new DataView(name.buffer);
  view.setUint16(0, isIpv6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port);
  name.set(addressBytes(host) ?? [], isIpv6 ? 8 : 4);
  return name.buffer;
}

/** What came in with one call, and the replies that leave with one. */
export interface Batch {
  /** Waits at most `RECEIVE_WITHIN_MS` for datagrams, and says how many are there; 0 when none came. */
  receive(): number;
  packet(index: number): Uint8Array;
  /** 4 or 16 bytes, until the next `receive`; IPv4 in IPv6 is IPv4. */
  sourceOf(index: number): Uint8Array;
  portOf(index: number): number;
  /** Where to write the next reply. */
  out(): Uint8Array;
  /** The first `length` bytes of `out()` go to where datagram `index` came from, with the next `send`. */
  reply(index: number, length: number): void;
  /** Sends all replies; how many the system did not take. */
  send(): number;
}

const MESSAGE_BYTES = 64;
const VECTOR_BYTES = 16;
const NAME_BYTES = 32;
const NAME_BYTES_MAX = 28;
/** Queries are smaller; what is longer arrives cut off, and is then malformed. */
const PACKET_BYTES = 2048;

/** One direction: BATCH × struct mmsghdr, struct iovec, a socket name, and room for a datagram. */
interface Lane {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly base: bigint;
  nameAt(index: number): number;
  dataAt(index: number): number;
  /** The word of `msg_len`, of `msg_namelen`, and of the length in the iovec. */
  lengthWord(index: number): number;
  nameLengthWord(index: number): number;
  roomWord(index: number): number;
}

function createLane(): Lane {
  const vectorsAt = BATCH * MESSAGE_BYTES;
  const namesAt = vectorsAt + BATCH * VECTOR_BYTES;
  const packetsAt = namesAt + BATCH * NAME_BYTES;
  const memory = new ArrayBuffer(packetsAt + BATCH * PACKET_BYTES);
  const base = calls().addressOf(memory);
  const view = new DataView(memory);
  const pointAt = (at: number, offset: number): void => view.setBigUint64(at, base + BigInt(offset), true);
  for (let index = 0; index < BATCH; index += 1) {
    const message = index * MESSAGE_BYTES;
    const vector = vectorsAt + index * VECTOR_BYTES;
    pointAt(message, namesAt + index * NAME_BYTES);
    view.setUint32(message + 8, NAME_BYTES_MAX, true);
    pointAt(message + 16, vector);
    view.setBigUint64(message + 24, 1n, true);
    pointAt(vector, packetsAt + index * PACKET_BYTES);
    view.setBigUint64(vector + 8, BigInt(PACKET_BYTES), true);
  }
  return {
    bytes: new Uint8Array(memory),
    words: new Uint32Array(memory),
    base,
    nameAt: (index) => namesAt + index * NAME_BYTES,
    dataAt: (index) => packetsAt + index * PACKET_BYTES,
    lengthWord: (index) => (index * MESSAGE_BYTES + 56) / 4,
    nameLengthWord: (index) => (index * MESSAGE_BYTES + 8) / 4,
    roomWord: (index) => (vectorsAt + index * VECTOR_BYTES + 8) / 4,
  };
}

/** Batches on a socket of `openDatagrams`; for one thread. */
export function createBatch(fd: number): Batch {
  const { recvmmsg, sendmmsg } = calls();
  const [incoming, outgoing] = [createLane(), createLane()];
  const outs = Array.from({ length: BATCH }, (_, index) =>
    outgoing.bytes.subarray(outgoing.dataAt(index), outgoing.dataAt(index) + UDP_BYTES_MAX),
  );
  const packets = packetViews(incoming);
  const sources = Array.from({ length: BATCH }, (_, index) => sourceViews(incoming, index));
  let replies = 0;
  return {
    receive: () => {
      for (let index = 0; index < BATCH; index += 1) {
        incoming.words[incoming.nameLengthWord(index)] = NAME_BYTES_MAX;
      }
      return Math.max(0, recvmmsg(fd, incoming.base, BATCH, MSG_WAITFORONE, 0n));
    },
    packet: (index) => packets(index, incoming.words[incoming.lengthWord(index)] ?? 0),
    sourceOf: (index) => (sources[index] ?? sourceViews(incoming, index))(),
    portOf: (index) => {
      const at = incoming.nameAt(index) + 2;
      return ((incoming.bytes[at] ?? 0) << 8) | (incoming.bytes[at + 1] ?? 0);
    },
    out: () => outs[replies] ?? new Uint8Array(UDP_BYTES_MAX),
    reply: (index, length) => {
      const from = incoming.nameAt(index) / 4;
      const to = outgoing.nameAt(replies) / 4;
      for (let word = 0; word < NAME_BYTES_MAX / 4; word += 1) {
        outgoing.words[to + word] = incoming.words[from + word] ?? 0;
      }
      outgoing.words[outgoing.nameLengthWord(replies)] = incoming.words[incoming.nameLengthWord(index)] ?? 0;
      outgoing.words[outgoing.roomWord(replies)] = length;
      replies += 1;
    },
    send: () => {
      const wanted = replies;
      let done = 0;
      let failed = 0;
      while (done < wanted) {
        const at = done === 0 ? outgoing.base : outgoing.base + BigInt(done * MESSAGE_BYTES);
        const sent = sendmmsg(fd, at, wanted - done, MSG_DONTWAIT);
        // An error is about the first of those that are left.
        if (sent <= 0) failed += 1;
        done += Math.max(1, sent);
      }
      replies = 0;
      return failed;
    },
  };
}

/** Queries are hardly ever longer; views of them are kept, because making one costs a tenth of answering. */
const KEPT_BYTES = 128;

/** Datagram `index`, of so many bytes, where the kernel puts it. */
function packetViews(lane: Lane): (index: number, length: number) => Uint8Array {
  const kept: (Uint8Array | undefined)[] = Array.from({ length: BATCH * KEPT_BYTES });
  return (index, length) => {
    const start = lane.dataAt(index);
    if (length >= KEPT_BYTES) return lane.bytes.subarray(start, start + length);
    return (kept[index * KEPT_BYTES + length] ??= lane.bytes.subarray(start, start + length));
  };
}

/** The address of whoever sent datagram `index`, as a view of where the kernel puts it. */
function sourceViews(lane: Lane, index: number): () => Uint8Array {
  const { bytes } = lane;
  const at = lane.nameAt(index);
  const ipv4 = bytes.subarray(at + 4, at + 8);
  const ipv6 = bytes.subarray(at + 8, at + 24);
  const mapped = bytes.subarray(at + 20, at + 24);
  return () => {
    if (bytes[at] !== AF_INET6) return ipv4;
    for (let byte = 8; byte < 18; byte += 1) if (bytes[at + byte] !== 0) return ipv6;
    return bytes[at + 18] === 0xff && bytes[at + 19] === 0xff ? mapped : ipv6;
  };
}
