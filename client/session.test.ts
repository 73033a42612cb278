/**
 * One socket against a relay that says anything: the other side is a transport in memory, since what matters here
 * is which frame comes when.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import vectors from '../test/vectors/frames.json' with { type: 'json' };
import { fromBase64url } from './bytes.ts';
import { CLIENT_FRAME_BYTES_MAX, encodeHello, MAILBOXES_MAX, WINDOW_MAX } from './frames.ts';
import type { LinkEnd } from './link.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';
import { Session } from './session.ts';
import type { SocketHandlers, Transport } from './transport.ts';
import { webClock, webRandom } from './web-clock.ts';

const origin = 'https://aws.relay.example.com';
const welcome = JSON.stringify({ t: 'welcome', site: 'aws', audience: origin, heartbeatMs: 5000 });
const ready = JSON.stringify({ t: 'ready' });
const drain = JSON.stringify({ t: 'drain', withinMs: 60_000, alternates: ['https://gcp.relay.test'] });
const message = fromBase64url(vectors.messages[0]?.frame ?? '') ?? new Uint8Array();
const mailbox = await createMailbox(webRandom);

interface Dialogue {
  readonly session: Session;
  readonly relay: SocketHandlers;
  readonly sent: (string | Uint8Array)[];
  readonly delivered: string[];
}

function dial(mailboxes: readonly Mailbox[] = [mailbox]): Dialogue {
  const sent: (string | Uint8Array)[] = [];
  const delivered: string[] = [];
  const relays: SocketHandlers[] = [];
  const transport: Transport = {
    request: () => Promise.reject(new Error('no requests here')),
    connect: (_origin, _path, _protocol, handlers) => {
      relays.push(handlers);
      return { send: (data) => void sent.push(data), close: () => undefined };
    },
  };
  const session = new Session({
    transport,
    clock: webClock,
    site: { origin, provider: 'aws' },
    mailboxes,
    window: 64,
    nowSeconds: () => 1,
    openWithinMs: 60_000,
    onReady: () => undefined,
    onMessage: (_session, frame) => void delivered.push(frame.id),
    onEmpty: () => undefined,
    onWelcome: () => undefined,
  });
  const [relay] = relays;
  if (relay === undefined) throw new Error('not dialled');
  return { session, relay, sent, delivered };
}

test('tokens are made for the audience of the welcome', async () => {
  const { relay, sent, session } = dial();
  relay.onText(welcome);
  while (sent.length === 0) await Promise.resolve(new Promise((resolve) => setImmediate(resolve)));
  expect(JSON.parse(String(sent[0]))).toEqual({
    t: 'hello',
    tokens: [await mailbox.token(origin, 1)],
    window: 64,
  });
  session.end('stopped');
});

test('a beat is answered with a beat', () => {
  const { relay, sent, session } = dial();
  relay.onText(JSON.stringify({ t: 'beat' }));
  expect(sent).toEqual(['{"t":"beat"}']);
  session.end('stopped');
});

test('a kind of text frame or binary frame that a later protocol may have is passed over', () => {
  const { relay, session, delivered } = dial();
  relay.onText(welcome);
  relay.onText(ready);
  relay.onText('{"t":"weather"}');
  relay.onBinary(Uint8Array.of(9, 9));
  relay.onBinary(message);
  expect(session.isReady).toBe(true);
  expect(delivered).toEqual([vectors.messages[0]?.id]);
  session.end('stopped');
});

test.each<[string, LinkEnd, (relay: SocketHandlers) => void]>([
  ['a message before ready', 'relay_malformed', (relay) => relay.onBinary(message)],
  ['ready before welcome', 'relay_malformed', (relay) => relay.onText(ready)],
  ['text that is not JSON', 'relay_malformed', (relay) => relay.onText('{')],
  ['a frame that is cut off', 'relay_malformed', (relay) => relay.onBinary(message.subarray(0, 9))],
  [
    'the audience of another site',
    'audience_foreign',
    (relay) => relay.onText(welcome.replaceAll('aws', 'gcp')),
  ],
  [
    'a drain notice without its time',
    'relay_malformed',
    (relay) => {
      relay.onText(welcome);
      relay.onText(ready);
      relay.onText('{"t":"drain","alternates":[]}');
    },
  ],
  [
    'a message for a mailbox that nobody asked for',
    'relay_malformed',
    (relay) => {
      relay.onText(welcome);
      relay.onText(ready);
      relay.onBinary(Uint8Array.from(message, (byte, place) => (place === 2 ? 1 : byte)));
    },
  ],
  ['a drain notice before ready', 'relay_malformed', (relay) => relay.onText(drain)],
  ['1012', 'draining', (relay) => relay.onClose(1012)],
  ['1013', 'overloaded', (relay) => relay.onClose(1013)],
  ['1006', 'unreachable', (relay) => relay.onClose(1006)],
  ['4401', 'token_refused', (relay) => relay.onClose(4401)],
  ['4429', 'too_slow', (relay) => relay.onClose(4429)],
])('%s ends the session: %s', async (_what, end, happen) => {
  const { relay, session, sent } = dial();
  happen(relay);
  expect(await session.ended).toBe(end);
  expect(sent).toEqual([]);
});

test('a hello for as many mailboxes as there may be fits into a frame', async () => {
  const tokens = await Promise.all(
    Array.from({ length: MAILBOXES_MAX }, () =>
      mailbox.token(`https://${'a'.repeat(63)}.example.com:8443`, 0),
    ),
  );
  expect(encodeHello(tokens, WINDOW_MAX).length).toBeLessThanOrEqual(CLIENT_FRAME_BYTES_MAX);
});

test('whatever a relay sends, in whatever order, nothing is thrown and an ended session stays ended', async () => {
  const frame = fc.oneof(
    fc.constantFrom(
      welcome,
      ready,
      drain,
      '{"t":"beat"}',
      '{"t":"empty","mailbox":0}',
      '{"t":"empty"}',
      'x',
      '{"t":"x"}',
    ),
    fc.constantFrom(message, new Uint8Array(), Uint8Array.of(1, 2), Uint8Array.of(7)),
    fc.constantFrom(1000, 1012, 4401),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 12 }), async (frames) => {
      const { relay, session, delivered } = dial();
      for (const given of frames) {
        const deliveredBefore = delivered.length;
        const wasReady = session.isReady;
        if (typeof given === 'string') relay.onText(given);
        else if (typeof given === 'number') relay.onClose(given);
        else relay.onBinary(given);
        if (delivered.length > deliveredBefore) expect(wasReady).toBe(true);
      }
      session.end('stopped');
      expect(session.isReady).toBe(false);
      await session.ended;
    }),
  );
});
