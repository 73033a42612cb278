/**
 * The frames between a relay and a recipient, subprotocol `relay.v1`; docs/protocol.md says the same to clients.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import { ACK_IDS_MAX, SIGNATURE_BYTES } from './ack.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { Message } from './message.ts';

export const SUBPROTOCOL = 'relay.v1';
export const CLIENT_FRAME_BYTES_MAX = 32_768;
export const MAILBOXES_MAX = 64;
export const WINDOW_MAX = 256;
const TOKEN_CHARS_MAX = 1024;
const MESSAGE = 0x01;
const ACK = 0x02;
/** Type, mailbox, id, two times and the length of the coding. */
const MESSAGE_HEAD_BYTES: number = 1 + 2 + 16 + 4 + 4 + 1;
/** Times are four bytes on the wire; a peer may have stored larger ones. */
const SECONDS_MAX = 0xffff_ffff;

export type ClientFrame =
  | { readonly type: 'hello'; readonly tokens: readonly string[]; readonly window: number }
  | { readonly type: 'beat' }
  | {
      readonly type: 'ack';
      /** Place of the mailbox in the hello. */
      readonly mailbox: number;
      readonly signature: Uint8Array;
      /** The ids as signed: count × 16 bytes. */
      readonly idBytes: Uint8Array;
    };

export type ServerFrame =
  | {
      readonly t: 'welcome';
      readonly site: string;
      readonly audience: string;
      readonly heartbeatMs: number;
    }
  | { readonly t: 'ready' }
  | { readonly t: 'empty'; readonly mailbox: number }
  | {
      /** The relay closes this connection after `withinMs`; the sites at `alternates` were up just now. */
      readonly t: 'drain';
      readonly withinMs: number;
      readonly alternates: readonly string[];
    }
  | { readonly t: 'beat' };

/** Parses a text frame. Never throws. */
export function parseTextFrame(text: string): Result<ClientFrame, 'malformed'> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('malformed');
  }
  if (typeof value !== 'object' || value === null) return fail('malformed');
  const frame = value as Readonly<Record<string, unknown>>;
  if (frame['t'] === 'beat') return ok({ type: 'beat' });
  const given: unknown = frame['tokens'];
  const window = frame['window'];
  if (frame['t'] !== 'hello' || !Array.isArray(given) || typeof window !== 'number') return fail('malformed');
  const tokens = given.filter((item): item is string => typeof item === 'string');
  const fits =
    tokens.length === given.length &&
    tokens.length >= 1 &&
    tokens.length <= MAILBOXES_MAX &&
    tokens.every((token) => token.length <= TOKEN_CHARS_MAX) &&
    Number.isInteger(window) &&
    window >= 1 &&
    window <= WINDOW_MAX;
  return fits ? ok({ type: 'hello', tokens, window }) : fail('malformed');
}

/** Parses a binary frame. Never throws. */
export function parseBinaryFrame(bytes: Uint8Array): Result<ClientFrame, 'malformed'> {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== ACK) return fail('malformed');
  const mailbox = reader.u16();
  const count = reader.u16();
  const signature = reader.bytes(SIGNATURE_BYTES);
  const idBytes = reader.bytes(count * 16);
  if (reader.malformed || count < 1 || count > ACK_IDS_MAX) return fail('malformed');
  return ok({ type: 'ack', mailbox, signature, idBytes });
}

/**
 * The binary frame of one message; `mailbox` is its place in the hello, `nowMs` makes the remaining TTL in seconds.
 */
export function encodeMessageFrame(mailbox: number, message: Message, nowMs: number): Uint8Array {
  const secondsLeft = Math.max(0, Math.ceil((message.expiresMs - nowMs) / 1000));
  const { coding, body } = message;
  return new ByteWriter(MESSAGE_HEAD_BYTES + coding.length + body.length)
    .u8(MESSAGE)
    .u16(mailbox)
    .base64url(message.id)
    .u32(Math.min(Math.floor(message.acceptedMs / 1000), SECONDS_MAX))
    .u32(Math.min(secondsLeft, SECONDS_MAX))
    .shortText(coding)
    .bytes(body)
    .finish();
}
