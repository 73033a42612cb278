/**
 * The frames of subprotocol `relay.v1` as a recipient sees them (docs/protocol.md): parsing what a relay sends and
 * building what a client sends. A relay is not trusted to be well-behaved, so parsing never throws.
 */
import { fail, ok, type Result } from '../system/result.ts';
import { type Bytes, concat, toBase64url } from './bytes.ts';

export const SUBPROTOCOL = 'relay.v1';
export const ACK_IDS_MAX = 512;
export const MAILBOXES_MAX = 64;
export const WINDOW_MAX = 256;
/** No frame that a client sends may be longer, bytes. */
export const CLIENT_FRAME_BYTES_MAX = 32_768;
const CODING_BYTES_MAX = 64;
const ORIGIN_CHARS_MAX = 300;
const ALTERNATES_MAX = 64;
/** No relay takes longer to leave, milliseconds. */
const DRAIN_MS_MAX = 3_600_000;

export type ControlFrame =
  | {
      readonly t: 'welcome';
      readonly site: string;
      readonly audience: string;
      readonly heartbeatMs: number;
    }
  | { readonly t: 'ready' }
  | { readonly t: 'empty'; readonly mailbox: number }
  | {
      /** The relay closes after `withinMs`, a time of this client's own; `alternates` are origins of other sites. */
      readonly t: 'drain';
      readonly withinMs: number;
      readonly alternates: readonly string[];
    }
  | { readonly t: 'beat' };

export interface MessageFrame {
  /** Place of the mailbox in the hello. */
  readonly mailbox: number;
  /** 16 bytes as base64url. */
  readonly id: string;
  readonly acceptedSeconds: number;
  /** Seconds left to live when the relay sent it. */
  readonly secondsLeft: number;
  readonly coding: string;
  readonly body: Bytes;
}

/** `unknown`: well-formed, of a type that this client does not know. `malformed`: outside the protocol. */
export type FrameFault = 'unknown' | 'malformed';

const MESSAGE = 0x01;
const ACK = 0x02;
const MESSAGE_HEADER_BYTES = 28;

/** Parses a text frame. Never throws. */
export function parseControlFrame(text: string): Result<ControlFrame, FrameFault> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('malformed');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('malformed');
  const { t, site, audience, heartbeatMs, mailbox, withinMs, alternates } = value as Readonly<
    Record<string, unknown>
  >;
  switch (t) {
    case 'ready':
    case 'beat':
      return ok({ t });
    case 'empty':
      return isWhole(mailbox, 0, MAILBOXES_MAX - 1) ? ok({ t, mailbox }) : fail('malformed');
    case 'drain': {
      const fits = isWhole(withinMs, 0, DRAIN_MS_MAX) && isOrigins(alternates);
      return fits ? ok({ t, withinMs, alternates }) : fail('malformed');
    }
    case 'welcome': {
      const fits = isText(site, 64) && isText(audience, ORIGIN_CHARS_MAX) && isWhole(heartbeatMs, 1, 600_000);
      return fits ? ok({ t, site, audience, heartbeatMs }) : fail('malformed');
    }
    default:
      return fail(typeof t === 'string' ? 'unknown' : 'malformed');
  }
}

/** Parses a binary frame. The body is a copy. Never throws. */
export function parseMessageFrame(frame: Uint8Array): Result<MessageFrame, FrameFault> {
  const type = frame[0];
  if (type === undefined) return fail('malformed');
  if (type !== MESSAGE) return fail('unknown');
  const codingBytes = frame[MESSAGE_HEADER_BYTES - 1] ?? 0;
  const bodyAt = MESSAGE_HEADER_BYTES + codingBytes;
  if (codingBytes > CODING_BYTES_MAX || frame.length < bodyAt) return fail('malformed');
  const coding = String.fromCharCode(...frame.subarray(MESSAGE_HEADER_BYTES, bodyAt));
  if (!/^[\x21-\x7e]+$/.test(coding)) return fail('malformed');
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  return ok({
    mailbox: view.getUint16(1),
    id: toBase64url(frame.subarray(3, 19)),
    acceptedSeconds: view.getUint32(19),
    secondsLeft: view.getUint32(23),
    coding,
    body: new Uint8Array(frame.subarray(bodyAt)),
  });
}

/** The ack of `idBytes` (16 bytes each, 1 to `ACK_IDS_MAX`), with the mailbox's signature over them. */
export function encodeAck(mailbox: number, signature: Uint8Array, idBytes: Uint8Array): Bytes {
  const header = new Uint8Array(5);
  header[0] = ACK;
  const view = new DataView(header.buffer);
  view.setUint16(1, mailbox);
  view.setUint16(3, idBytes.length / 16);
  return concat(header, signature, idBytes);
}

/** The first frame of a session: mailbox tokens (at most 64) and how many messages may be un-acked at once. */
export function encodeHello(tokens: readonly string[], window: number): string {
  return JSON.stringify({ t: 'hello', tokens, window });
}

export const BEAT: string = JSON.stringify({ t: 'beat' });

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}

function isText(value: unknown, charsMax: number): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= charsMax;
}

function isOrigins(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || value.length > ALTERNATES_MAX) return false;
  return value.every((origin) => isText(origin, ORIGIN_CHARS_MAX));
}
