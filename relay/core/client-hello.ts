/**
 * The server name out of the first bytes of a TLS connection (RFC 8446 §4.1.2, RFC 6066 §3). Strict and bounded:
 * it only has to recognise a well-formed ClientHello, and what it does not understand goes to the clients' server,
 * whose TLS library decides.
 */
import { ByteReader } from './bytes.ts';

export type ServerNameResult =
  /** More bytes are needed to say. */
  | { readonly state: 'incomplete' }
  /** These bytes do not begin a TLS connection. */
  | { readonly state: 'not_tls' }
  | { readonly state: 'complete'; readonly serverName: string | undefined };

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME_EXTENSION = 0;
const HOST_NAME = 0;

/** `bytes` are everything received so far. Never throws. */
export function readServerName(bytes: Uint8Array): ServerNameResult {
  // A ClientHello may be cut into several records (and is, when it carries post-quantum key shares): join them.
  const fragments: Uint8Array[] = [];
  const records = new ByteReader(bytes);
  let length = 0;
  // What follows the ClientHello is for the server that gets the connection.
  while (records.remaining >= 5 && length < handshakeLength(fragments)) {
    const type = records.u8();
    const major = records.u8();
    records.u8();
    const size = records.u16();
    if (type !== HANDSHAKE_RECORD || major !== 3 || size === 0 || size > 16_384) return { state: 'not_tls' };
    if (records.remaining < size) break;
    fragments.push(records.bytes(size));
    length += size;
  }
  if (fragments.length === 0) {
    const first = bytes[0];
    return first === undefined || first === HANDSHAKE_RECORD ? { state: 'incomplete' } : { state: 'not_tls' };
  }
  const handshake = new ByteReader(Buffer.concat(fragments, length));
  if (handshake.u8() !== CLIENT_HELLO) return { state: 'not_tls' };
  const bodyLength = handshake.u8() * 65_536 + handshake.u16();
  if (handshake.broken || handshake.remaining < bodyLength) return { state: 'incomplete' };
  return { state: 'complete', serverName: serverNameIn(new ByteReader(handshake.bytes(bodyLength))) };
}

/** Bytes of the handshake message that begins in the first fragments; endless until its length is there. */
function handshakeLength(fragments: readonly Uint8Array[]): number {
  const head = new ByteReader(Buffer.concat(fragments.slice(0, 4)));
  head.u8();
  const bodyLength = head.u8() * 65_536 + head.u16();
  return head.broken ? Number.POSITIVE_INFINITY : 4 + bodyLength;
}

function serverNameIn(hello: ByteReader): string | undefined {
  hello.bytes(2 + 32);
  hello.bytes(hello.u8());
  hello.bytes(hello.u16());
  hello.bytes(hello.u8());
  const extensions = new ByteReader(hello.bytes(hello.u16()));
  while (extensions.remaining >= 4) {
    const type = extensions.u16();
    const content = extensions.bytes(extensions.u16());
    if (type !== SERVER_NAME_EXTENSION) continue;
    const names = new ByteReader(content);
    names.u16();
    if (names.u8() !== HOST_NAME) return undefined;
    const name = names.bytes(names.u16());
    return names.malformed ? undefined : name.toString('latin1').toLowerCase();
  }
  return undefined;
}
