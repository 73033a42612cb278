/**
 * What clients read is what relays do: docs/protocol.md names the refusals and close codes of the code, and frames are
 * those of the vectors for clients in any language.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { CONNECTION_UNKNOWN_MAX } from './ack-gate.ts';
import { ACK_IDS_MAX } from './core/ack.ts';
import { CLIENT_FRAME_BYTES_MAX, encodeMessageFrame, MAILBOXES_MAX, WINDOW_MAX } from './core/frame.ts';
import type { MessageId } from './core/message.ts';
import { REFUSALS } from './core/refusal.ts';
import { CLOSE_CODES } from './core/session.ts';

const protocol = readFileSync(join(import.meta.dirname, '../docs/protocol.md'), 'utf8');

/** Every `code` that stands with a status, in the table of refusals and in the text. */
function documentedRefusals(): Map<string, number> {
  const found = new Map<string, number>();
  const note = (status: string, codes: string): void => {
    for (const [, code = ''] of codes.matchAll(/`([a-z_]+)`/g)) found.set(code, Number(status));
  };
  for (const [, status = '', codes = ''] of protocol.matchAll(/^\| (\d{3}) +\| ([^|]+)\|/gm)) {
    note(status, codes);
  }
  for (const [, status = '', code = ''] of protocol.matchAll(/`(\d{3}) ([a-z_]+)`/g)) {
    note(status, `\`${code}\``);
  }
  return found;
}

test('every refusal is documented with its status, and no other', () => {
  const ours = Object.entries(REFUSALS).map(([code, { status }]) => [code, status] as const);
  expect(Object.fromEntries(documentedRefusals())).toEqual(Object.fromEntries(ours));
});

test('every 429 and 503 says when to come back, and nothing else does', () => {
  for (const [code, { status, retryAfterSeconds }] of Object.entries(REFUSALS)) {
    expect(retryAfterSeconds !== undefined, code).toBe(status === 429 || status === 503);
  }
});

test('every route is documented, and no other', () => {
  const documented = [...protocol.matchAll(/`(GET|POST|DELETE) (\/[^`? ]+)/g)].map(
    ([, method, path = '']) => {
      return `${method} ${path.replace(/<.*>$/, ':')}`;
    },
  );
  const source = readFileSync(join(import.meta.dirname, 'http/public-app.ts'), 'utf8');
  const served = [...source.matchAll(/app\.(get|post|delete)\('([^']+)'/g)].map(
    ([, method = '', path = '']) => {
      return `${method.toUpperCase()} ${path.replace(/:.*$/, ':')}`;
    },
  );
  // Pushes and WebSockets do not go through the table of routes.
  expect(new Set(documented)).toEqual(new Set([...served, 'POST /p/:', 'GET /v1/ws']));
});

test('the limits are those of the code', () => {
  for (const [limit, context] of [
    [CLIENT_FRAME_BYTES_MAX, "A client's frame has at most"],
    [ACK_IDS_MAX, 'count, 1 to'],
    [MAILBOXES_MAX, '"window":64}`. 1 to'],
    [WINDOW_MAX, '`window` 1 to'],
    [CONNECTION_UNKNOWN_MAX, 'ids at once and 8 a second of one mailbox,'],
  ] as const) {
    const text = protocol.replaceAll(/\s+/g, ' ');
    expect(text).toContain(`${context} ${String(limit).replace(/^(\d\d)(\d{3})$/, '$1,$2')}`);
  }
});

test('every close code is documented, and no other', () => {
  const documented = [...protocol.matchAll(/^\| (1\d{3}|4\d{3}) +\|/gm)].map(([, code]) => Number(code));
  expect(new Set(documented)).toEqual(new Set(Object.values(CLOSE_CODES)));
});

test('message frames are those of the vectors for clients', () => {
  interface Vector {
    readonly frame: string;
    readonly mailbox: number;
    readonly id: string;
    readonly acceptedSeconds: number;
    readonly secondsLeft: number;
    readonly coding: string;
    readonly body: string;
  }
  const path = join(import.meta.dirname, '../test/vectors/frames.json');
  const { messages } = JSON.parse(readFileSync(path, 'utf8')) as { messages: readonly Vector[] };
  const mailbox = createTestMailbox();
  expect(messages.length).toBeGreaterThan(0);
  for (const vector of messages) {
    const message = mailbox.message('x', {
      id: vector.id as MessageId,
      acceptedMs: vector.acceptedSeconds * 1000,
      expiresMs: vector.secondsLeft * 1000,
      coding: vector.coding,
      body: Buffer.from(vector.body, 'base64url'),
    });
    expect(Buffer.from(encodeMessageFrame(vector.mailbox, message, 0)).toString('base64url')).toBe(
      vector.frame,
    );
  }
});
