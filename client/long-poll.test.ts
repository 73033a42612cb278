/**
 * One long-poll at a relay that says anything, on a clock that is moved by hand.
 */
import { expect, test } from 'vitest';
import { createFakeClock, type FakeClock } from '../test/support/fake-clock.ts';
import { toBase64url } from './bytes.ts';
import { TransportError } from './errors.ts';
import type { LinkEnd } from './link.ts';
import { LongPoll } from './long-poll.ts';
import type { Mailbox } from './mailbox.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

const origin = 'https://aws.relay.example.com';
const sites = [{ name: 'aws', origin }];
const info = { audience: origin, sites, bodyBytesMax: 65_536, timeMs: 0 };
const id = (number: number): string => toBase64url(new Uint8Array(16).fill(number));

function createFakeMailbox(name: string): Mailbox {
  return {
    id: name,
    publicKey: '',
    keys: { p256dh: '', auth: '' },
    token: (audience) => Promise.resolve(`${name}@${audience}`),
    signAck: () => Promise.resolve(new Uint8Array(64)),
    signRevocation: () => Promise.resolve(new Uint8Array(64)),
    decrypt: () => Promise.reject(new Error('not decrypted here')),
    export: () => Promise.reject(new Error('not exported here')),
  };
}

function answer(status: number, value: unknown): HttpResponse {
  return { status, header: () => undefined, body: new TextEncoder().encode(JSON.stringify(value)) };
}

/** Ids of messages that are not acked, by the name of their mailbox. */
type Waiting = Record<string, number[]>;

interface Scene {
  readonly clock: FakeClock;
  readonly link: LongPoll;
  readonly handed: string[];
  readonly empty: number[];
  readonly asked: HttpRequest[];
  /** Questions that wait for an answer now, and the most there ever were. */
  readonly open: () => number;
  readonly openMax: () => number;
}

interface SceneOptions {
  readonly waiting?: Waiting;
  readonly window?: number;
  /** In place of the answer of a relay; undefined for that one. */
  readonly instead?: (request: HttpRequest) => Promise<HttpResponse> | undefined;
}

async function begin({ waiting = { a: [] }, window = 64, instead }: SceneOptions): Promise<Scene> {
  const clock = createFakeClock();
  const handed: string[] = [];
  const empty: number[] = [];
  const asked: HttpRequest[] = [];
  let open = 0;
  let openMax = 0;
  const poll = async (request: HttpRequest): Promise<HttpResponse> => {
    const name = /^Bearer (\w+)@/.exec(request.headers['authorization'] ?? '')?.[1] ?? '';
    const waitSeconds = Number(/wait=(\d+)/.exec(request.path)?.[1]);
    const ids = waiting[name] ?? [];
    open += 1;
    openMax = Math.max(openMax, open);
    if (ids.length === 0 && waitSeconds > 0) await clock.sleep(waitSeconds * 1000);
    open -= 1;
    const messages = ids.map((number) => ({
      id: id(number),
      acceptedSeconds: 1,
      secondsLeft: 60,
      coding: 'message/mls',
      body: '',
    }));
    return answer(200, { messages });
  };
  const transport: Transport = {
    connect: () => {
      throw new Error('no sockets here');
    },
    request: async (request, { signal }) => {
      asked.push(request);
      const replaced = instead?.(request);
      if (replaced !== undefined) return replaced;
      if (request.path === '/v1/info') return answer(200, info);
      if (request.path === '/v1/acks') return answer(204, {});
      const polled = await poll(request);
      signal?.throwIfAborted();
      return polled;
    },
  };
  const link = new LongPoll({
    transport,
    clock,
    site: { origin, provider: 'aws' },
    mailboxes: Object.keys(waiting).map(createFakeMailbox),
    window,
    nowSeconds: () => 1,
    openWithinMs: 4000,
    onReady: () => undefined,
    onMessage: (_link, frame) => void handed.push(frame.id),
    onEmpty: (_link, mailbox) => void empty.push(mailbox),
  });
  await clock.settle();
  return { clock, link, handed, empty, asked, open: () => open, openMax: () => openMax };
}

const idBytes = (...numbers: readonly number[]): Uint8Array =>
  Uint8Array.from(numbers.flatMap((number) => Array.from({ length: 16 }, () => number)));

test('what is not acked is handed on once, however often the relay gives it', async () => {
  const { clock, handed, link, asked } = await begin({ waiting: { a: [1, 2] } });
  await clock.advance(10_000);
  expect(handed).toEqual([id(1), id(2)]);
  expect(asked.length).toBeLessThan(15);
  link.end('stopped');
});

test('no more is handed on than the window allows, until it is acked', async () => {
  const waiting = { a: [1, 2, 3, 4, 5] };
  const { clock, handed, link } = await begin({ waiting, window: 2 });
  await clock.advance(5000);
  expect(handed).toEqual([id(1), id(2)]);
  waiting.a.splice(0, 2);
  await link.ack(0, new Uint8Array(64), idBytes(1, 2));
  await clock.settle();
  expect(handed).toEqual([id(1), id(2), id(3), id(4)]);
  link.end('stopped');
});

const refuseAcks = ({ path }: HttpRequest) =>
  path === '/v1/acks' ? Promise.resolve(answer(503, { code: 'overloaded' })) : undefined;
const never = () => Promise.withResolvers<HttpResponse>().promise;

test('a message whose ack was not taken is handed on again', async () => {
  const { clock, handed, link, asked } = await begin({ waiting: { a: [1] }, instead: refuseAcks });
  await link.ack(0, new Uint8Array(64), idBytes(1));
  await clock.advance(1000);
  expect(handed).toEqual([id(1), id(1)]);
  expect(asked.length).toBeLessThan(6);
  link.end('stopped');
});

test('an ack goes out although the link ends, and one for a link that has ended does nothing', async () => {
  const { asked, link } = await begin({ waiting: { a: [1] } });
  const sent = link.ack(0, new Uint8Array(64), idBytes(1));
  link.end('stopped');
  await sent;
  await link.ack(0, new Uint8Array(64), idBytes(1));
  expect(asked.filter(({ path }) => path === '/v1/acks')).toHaveLength(1);
});

test('many mailboxes take turns, four at a time, and each is said to be empty once', async () => {
  const names = Array.from({ length: 10 }, (_, place) => `m${place}`);
  const waiting: Waiting = Object.fromEntries(names.map((name) => [name, []]));
  const { clock, empty, link, handed, openMax } = await begin({ waiting });
  await clock.advance(10_000);
  expect(openMax()).toBe(4);
  expect(empty.toSorted((a, b) => a - b)).toEqual(names.keys().toArray());
  waiting['m9'] = [7];
  await clock.advance(3000);
  expect(handed).toEqual([id(7)]);
  link.end('stopped');
});

test('a link that was ended leaves no timer and asks nothing more', async () => {
  const { clock, link, asked } = await begin({ waiting: { a: [1] } });
  link.end('stopped');
  await clock.settle();
  const count = asked.length;
  await clock.advance(10_000);
  expect(asked).toHaveLength(count);
  expect(clock.pending()).toBe(0);
});

const lost = (fault: 'timeout' | 'broken') => () => Promise.reject(new TransportError(fault, true));
const replied = (status: number, value: unknown) => () => Promise.resolve(answer(status, value));

test.each<[string, LinkEnd, () => Promise<HttpResponse>]>([
  ['no answer', 'silent', lost('timeout')],
  ['a connection that breaks', 'closed', lost('broken')],
  ['503 draining', 'draining', replied(503, { code: 'draining' })],
  ['503 overloaded', 'overloaded', replied(503, { code: 'overloaded' })],
  ['502 of somebody else', 'closed', replied(502, {})],
  ['401', 'token_refused', replied(401, { code: 'mailbox_token_invalid' })],
  ['what is no list of messages', 'relay_malformed', replied(200, { messages: 'none' })],
])('%s ends a link that was ready: %s', async (_what, end, reply) => {
  let polls = 0;
  const { clock, link } = await begin({
    instead: ({ path }) => {
      if (!path.startsWith('/v1/messages')) return undefined;
      polls += 1;
      return polls === 1 ? undefined : reply();
    },
  });
  await clock.settle();
  expect(await link.ended).toBe(end);
});

test.each<[string, LinkEnd, () => Promise<HttpResponse>]>([
  ['no answer', 'unreachable', lost('timeout')],
  ['a page of somebody else', 'unreachable', replied(200, 'Please log in')],
  ['the audience of another site', 'audience_foreign', replied(200, { ...info, audience: 'https://x.test' })],
])('%s to the first question is its end: %s', async (_what, end, reply) => {
  const { link } = await begin({ instead: reply });
  expect(await link.ended).toBe(end);
  expect(link.isReady).toBe(false);
});

test('a site that answers nothing at all is given up in time', async () => {
  const { clock, link } = await begin({ instead: never });
  await clock.advance(4000);
  expect(await link.ended).toBe('open_timeout');
});
