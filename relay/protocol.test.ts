/**
 * What clients read is what relays do: docs/protocol.md names the refusals and close codes of the code, and frames are
 * those of the vectors for clients in any language.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseControlFrame } from '../client/frames.ts';
import { createTestMailbox } from '../test/support/mailbox.ts';
import { CONNECTION_UNKNOWN_MAX, DOUBTFUL_RATE, MAILBOX_RATE, RELAY_RATE } from './ack-gate.ts';
import { CLIENT_HELLO_WITHIN_MS } from './adapters/front-door.ts';
import { BURST_SECONDS } from './admission.ts';
import { RELAY_SETTINGS } from './config.ts';
import { ACK_IDS_MAX } from './core/ack.ts';
import { HEADS_MAX } from './core/delivery-loops.ts';
import {
  CLIENT_FRAME_BYTES_MAX,
  type ClientFrame,
  encodeMessageFrame,
  MAILBOXES_MAX,
  parseTextFrame,
  type ServerFrame,
  WINDOW_MAX,
} from './core/frame.ts';
import { FRAMES_BURST, FRAMES_PER_SECOND } from './core/frame-allowance.ts';
import type { MessageId } from './core/message.ts';
import { SINGLE_HEADERS } from './core/push-request.ts';
import { GUARD_FROM } from './core/quota.ts';
import { REFUSALS } from './core/refusal.ts';
import { CLOSE_CODES } from './core/session.ts';
import { CLOCK_TOLERANCE_SECONDS, SECONDS_AHEAD_MAX } from './core/vapid.ts';
import { DISCARDS, PEER_REFUSALS, TURNED_AWAY } from './events.ts';
import { PAIR_RATE } from './failures.ts';
import { CLIENT_LIMITS, HEADER_BYTES_MAX, WAITING_REQUESTS_MAX } from './http/client-server.ts';
import { MESSAGES_MAX, WAIT_SECONDS_MAX } from './http/long-poll.ts';
import { TOKEN_SECONDS_MAX } from './http/mailbox-token.ts';
import { READINESS_BYTES_MAX } from './http/public-app.ts';
import { EXPOSED_HEADERS } from './http/push-answer.ts';
import { BELIEVED_MS } from './http/revocations.ts';
import { FRAGMENTS_MAX } from './recipients.ts';
import { HELLO_WITHIN_MS } from './relay.ts';
import { AGAIN_MS, UNWELL_MS } from './send-away.ts';

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

/** What the document says, without its line breaks and columns. */
const text = protocol.replaceAll(/\s+/g, ' ');
const NUMBERS: Readonly<Record<number, string>> = { 4: 'four', 6: 'six', 10: 'ten' };

/** As the document writes numbers: a comma from ten thousand on. */
function written(value: number): string {
  return String(value).replace(/^(\d\d\d?)(\d{3})$/, '$1,$2');
}

test.each<[string, number | string]>([
  ["A client's frame has at most #", CLIENT_FRAME_BYTES_MAX],
  ['count, 1 to #', ACK_IDS_MAX],
  ['"window":64}`. 1 to # tokens', MAILBOXES_MAX],
  ['`window` 1 to # is how many', WINDOW_MAX],
  ['`exp` at most # s ahead', TOKEN_SECONDS_MAX],
  ["the relay's maximum (# days)", days(RELAY_SETTINGS.RELAY_TTL_SECONDS_MAX.fallback)],
  ['that nobody has read yet to # days', days(RELAY_SETTINGS.RELAY_UNREAD_TTL_SECONDS_MAX.fallback)],
  ['The body has at most # bytes by default', RELAY_SETTINGS.RELAY_BODY_BYTES_MAX.fallback ?? 0],
  ['not past and at most # hours ahead', SECONDS_AHEAD_MAX / 3600],
  ['ahead (clocks may differ by # s)', CLOCK_TOLERANCE_SECONDS],
  ['was refused # times in a row from this address', NUMBERS[PAIR_RATE.burst] ?? ''],
  ['(more than # a second with one operator token)', RELAY_SETTINGS.RELAY_MINTS_PER_SECOND.fallback ?? 0],
  ['within # s of hearing of it', BELIEVED_MS / 1000],
  ['With `?bytes=N`, up to #, the body', READINESS_BYTES_MAX],
  ['the headers took more than # s', CLIENT_LIMITS.headersTimeoutMs / 1000],
  ['all of the request more than # s', CLIENT_LIMITS.requestTimeoutMs / 1000],
  ['the headers have more than # bytes together', HEADER_BYTES_MAX],
  ['begins a TLS connection came within # s', CLIENT_HELLO_WITHIN_MS / 1000],
  ['handshake failed, or took more than # s', CLIENT_LIMITS.handshakeTimeoutMs / 1000],
  ['The client, within # s: `{"t":"hello"', HELLO_WITHIN_MS / 1000],
  ['was sent first on # connections of one relay in a row', NUMBERS[HEADS_MAX + 1] ?? ''],
  ['in at most # fragments', FRAGMENTS_MAX],
  ['each message that it got and # a second besides', FRAMES_PER_SECOND],
  ['pings included; # may come at once', FRAMES_BURST],
  ['looks at # of them a second in all', DOUBTFUL_RATE.perSecond],
  ['a second in all, and # at once', DOUBTFUL_RATE.burst],
  ['more than # of them waiting is cut', WAITING_REQUESTS_MAX],
  ['without limit: # ids at once', MAILBOX_RATE.burst],
  ['ids at once and # a second of one mailbox', MAILBOX_RATE.perSecond],
  ['of one mailbox, # of one connection', CONNECTION_UNKNOWN_MAX],
  ['of one connection, # at once', RELAY_RATE.burst],
  ['at once and # a second in all', RELAY_RATE.perSecond],
  ['none while the store is more than # % full', GUARD_FROM * 100],
  ['the tokens of one mailbox # times a second', RELAY_SETTINGS.RELAY_MAILBOX_ASKS_PER_SECOND.fallback ?? 0],
  ["# seconds' worth may come at once", NUMBERS[BURST_SECONDS] ?? ''],
  ['whose site has not been ready for # s', UNWELL_MS / 1000],
  ['again every # s while that lasts', AGAIN_MS / 1000],
  ['waits up to `wait` seconds (0 to #, 25 by default)', WAIT_SECONDS_MAX],
  ['answers `200` with at most # messages', MESSAGES_MAX],
])('the limit in "%s" is that of the code', (sentence, value) => {
  expect(text).toContain(sentence.replace('#', typeof value === 'number' ? written(value) : value));
});

function days(seconds = 0): number {
  return seconds / 86_400;
}

test('every header that is read of a push is documented, and may be given once', () => {
  const [, row = ''] = /`header_repeated` +\| ([^|]+)\|/.exec(protocol) ?? [];
  const once = [...row.matchAll(/`([A-Za-z-]+)`/g)].map(([, name = '']) => name.toLowerCase());
  expect(new Set(once)).toEqual(new Set(SINGLE_HEADERS));
  const table = [...protocol.matchAll(/^\| `([A-Z][A-Za-z-]+)[:`]/gm)].map(([, name = '']) =>
    name.toLowerCase(),
  );
  // VAPID has a paragraph of its own.
  expect(new Set([...table, 'authorization'])).toEqual(new Set(SINGLE_HEADERS));
});

test('every header that pages may read is documented', () => {
  const [, listed = ''] = /never with credentials, and ([^.]+) are exposed/.exec(text) ?? [];
  expect([...listed.matchAll(/`([^`]+)`/g)].map(([, name]) => name)).toEqual(EXPOSED_HEADERS);
});

test('the text frames of the document are those of relay and client, and there are no others', () => {
  const said = new Map<string, string>();
  for (const [, frame = ''] of protocol.matchAll(/`(\{"t":"[^`]+\})`/g)) {
    const whole = frame.replace(', …', '').replace('<mailbox token>', 'a.b.c');
    said.set(String((JSON.parse(whole) as { readonly t: unknown }).t), whole);
  }
  const ofRelay = Object.keys({ welcome: 1, ready: 1, empty: 1, drain: 1, beat: 1 } satisfies Record<
    ServerFrame['t'],
    1
  >);
  const ofClient = Object.keys({ hello: 1, beat: 1 } satisfies Record<
    Exclude<ClientFrame['type'], 'ack'>,
    1
  >);
  expect(new Set(said.keys())).toEqual(new Set([...ofRelay, ...ofClient]));
  for (const name of ofClient) expect(parseTextFrame(said.get(name) ?? '').ok, name).toBe(true);
  for (const name of ofRelay) expect(parseControlFrame(said.get(name) ?? '').ok, name).toBe(true);
});

test('every close code is documented, and no other', () => {
  const documented = [...protocol.matchAll(/^\| (1\d{3}|4\d{3}) +\|/gm)].map(([, code]) => Number(code));
  expect(new Set(documented)).toEqual(new Set(Object.values(CLOSE_CODES)));
});

test.each<[string, readonly string[]]>([
  ['turned away', TURNED_AWAY],
  ['discarded', DISCARDS],
  ['refused a peer', PEER_REFUSALS],
])('whatever is %s has a line, and nothing else has', (column, names) => {
  const [, table = ''] =
    new RegExp(`^\\| ${column} +\\|.*\\n\\|[ -|]+\\n((?:\\|.*\\n)+)`, 'm').exec(protocol) ?? [];
  const listed = [...table.matchAll(/^\| `([a-z_]+)` /gm)].map(([, name]) => name);
  expect(new Set(listed)).toEqual(new Set(names));
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
