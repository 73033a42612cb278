/**
 * What `GET /v1/messages` answers (docs/protocol.md, "Receiving: long-poll"), as the frames that a WebSocket would
 * have brought.
 */
import { fromBase64url } from './bytes.ts';
import type { MessageFrame } from './frames.ts';

const ID_BYTES = 16;
/** A relay gives at most 64. */
const MESSAGES_MAX = 256;

/** Undefined unless the body is what the protocol says. `mailbox`: its place in the hello. Never throws. */
export function parsePolled(body: Uint8Array, mailbox: number): readonly MessageFrame[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { messages } = value as Readonly<Record<string, unknown>>;
  if (!Array.isArray(messages) || messages.length > MESSAGES_MAX) return undefined;
  const frames = messages.map((message) => parseMessage(message, mailbox));
  const known = frames.filter((frame) => frame !== undefined);
  return known.length === frames.length ? known : undefined;
}

function parseMessage(value: unknown, mailbox: number): MessageFrame | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, acceptedSeconds, secondsLeft, coding, body } = value as Readonly<Record<string, unknown>>;
  if (typeof id !== 'string' || fromBase64url(id)?.length !== ID_BYTES) return undefined;
  if (typeof coding !== 'string' || !/^[\x21-\x7e]{1,64}$/.test(coding)) return undefined;
  if (!isSeconds(acceptedSeconds) || !isSeconds(secondsLeft) || typeof body !== 'string') return undefined;
  const bytes = fromBase64url(body);
  return bytes && { mailbox, id, acceptedSeconds, secondsLeft, coding, body: bytes };
}

function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
