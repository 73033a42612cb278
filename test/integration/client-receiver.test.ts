/**
 * The receiver against real sockets that are cut, frozen, closed and lied on: the application gets every message
 * once, and the fleet is told so.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encrypt } from '../../client/encryption.ts';
import { dnsOnlyFleet } from '../../client/fleet.ts';
import type { ReceivedMessage } from '../../client/inbox.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createReceiver, type Receiver, type ReceiverOptions } from '../../client/receiver.ts';
import { webClock, webRandom } from '../../client/web-clock.ts';
import { TinyFleet, until } from '../support/tiny-relay.ts';

let fleet: TinyFleet;
let transport: NodeTransport;
let mailbox: Mailbox;
let stop: AbortController;
let running: Promise<void>;
let sentCount: number;
const received: string[] = [];

beforeEach(async () => {
  fleet = await TinyFleet.start({ sites: ['aws', 'gcp', 'hetzner'], heartbeatMs: 50 });
  const { ca, lookup } = fleet;
  transport = createNodeTransport({ clock: webClock, ca, lookup, connectTimeoutMs: 2000, keepAlive: false });
  mailbox = await createMailbox(webRandom);
  stop = new AbortController();
  running = Promise.resolve();
  received.length = 0;
  sentCount = 0;
});

afterEach(async () => {
  stop.abort();
  await running;
  transport.close();
  await fleet.close();
});

function receiverWith(options: Partial<ReceiverOptions> = {}): Receiver {
  return createReceiver({
    transport,
    clock: webClock,
    random: webRandom,
    fleet: { canonicalOrigin: fleet.canonicalOrigin, sites: fleet.sites },
    mailboxes: [mailbox],
    backoff: { baseMs: 20, maxMs: 200 },
    ...options,
  });
}

/** Collects the texts of all messages until the test is over. */
function start(receiver: Receiver, each: (message: ReceivedMessage) => void = () => undefined): Receiver {
  const collect = async (): Promise<void> => {
    for await (const message of receiver.messages(stop.signal)) {
      received.push(new TextDecoder().decode(message.content));
      each(message);
    }
  };
  running = collect();
  return receiver;
}

/** Puts a message straight into the fleet's store. */
async function put(text: string, to: Mailbox = mailbox): Promise<void> {
  const options = { random: webRandom, bodyBytesMax: 4096, padding: 'buckets' } as const;
  const { body, coding } = await encrypt(new TextEncoder().encode(text), to.keys, options);
  sentCount += 1;
  const id = Buffer.alloc(16);
  id.writeUInt32BE(sentCount, 0);
  fleet.put({ mailbox: to.id, id, coding, body: Buffer.from(body), acceptedSeconds: 1, ttlSeconds: 60 });
}

const warmRelays = (): readonly string[] =>
  fleet.relays.filter(({ recipients }) => recipients > 0).map(({ name }) => name);

describe('two warm sockets', () => {
  test('are at different providers, and a message over both reaches the application once', async () => {
    const receiver = start(receiverWith());
    await until(() => receiver.readyCount() === 2);
    expect(warmRelays()).toHaveLength(2);
    await put('one');
    await put('two');
    await until(() => fleet.acked.size === 2 && receiver.counts.duplicate === 2);
    expect(received).toEqual(['one', 'two']);
  });

  test('what waited in the mailbox comes at once, in order', async () => {
    const texts = Array.from({ length: 200 }, (_, index) => `message ${index}`);
    for (const text of texts) await put(text);
    start(receiverWith({ window: 16 }));
    await until(() => fleet.acked.size === 200);
    expect([...received].sort()).toEqual([...texts].sort());
  });

  test('the loss of one is not noticed by the application, and it is replaced at the third provider', async () => {
    const receiver = start(receiverWith());
    await until(() => receiver.readyCount() === 2);
    const [lost = ''] = warmRelays();
    await fleet.relay(lost).stop();
    for (let index = 0; index < 20; index += 1) await put(`message ${index}`);
    await until(() => fleet.acked.size === 20);
    expect(received).toHaveLength(20);
    await until(() => receiver.readyCount() === 2);
    expect(warmRelays()).toHaveLength(2);
  });

  test('a frozen one is noticed by its silence, and given up', async () => {
    const receiver = start(receiverWith());
    await until(() => receiver.readyCount() === 2);
    const [frozen = ''] = warmRelays();
    fleet.relay(frozen).freeze();
    await put('meanwhile');
    await until(() => received.length === 1);
    expect(receiver.counts.ended_silent).toBe(0);
    await until(() => receiver.counts.ended_silent === 1 && receiver.readyCount() === 2);
  });

  test('acks are signed once for many messages and sent over both', async () => {
    for (let index = 0; index < 32; index += 1) await put(`message ${index}`);
    const receiver = start(receiverWith({ window: 64 }));
    await until(() => fleet.acked.size === 32 && receiver.counts.duplicate > 0);
    await until(() =>
      fleet.relays.every(({ ackSizes, recipients }) => recipients === 0 || ackSizes.length > 0),
    );
    expect(Math.max(...fleet.relays.flatMap(({ ackSizes }) => ackSizes))).toBeGreaterThan(1);
  });

  test('beats are answered', async () => {
    start(receiverWith());
    await until(() => fleet.relays.filter(({ beatsAnswered }) => beatsAnswered >= 2).length === 2);
  });
});

describe('one socket', () => {
  test('that is cut before the ack brings the message again, and the application does not get it again', async () => {
    const messages: ReceivedMessage[] = [];
    const receiver = start(receiverWith({ warm: 1, ackWhen: 'explicit', ackBatchForMs: 1 }), (message) =>
      messages.push(message),
    );
    await put('once');
    await until(() => messages.length === 1);
    // One message more shows that an ack would have gone out by now.
    await put('another');
    await until(() => messages.length === 2);
    for (const relay of fleet.relays) relay.cut();
    await until(() => receiver.counts.duplicate === 2);
    expect(fleet.acked.size).toBe(0);
    messages[0]?.ack();
    messages[0]?.ack();
    await until(() => fleet.acked.size === 1);
    expect(received).toEqual(['once', 'another']);
  });

  test('a draining relay is left for another', async () => {
    const receiver = start(receiverWith({ warm: 1 }));
    await until(() => receiver.readyCount() === 1);
    const [draining = ''] = warmRelays();
    fleet.relay(draining).closeAll(1012);
    await until(() => receiver.counts.ended_draining === 1 && receiver.readyCount() === 1);
    expect(warmRelays()).not.toContain(draining);
  });

  test('a relay that drains and says so is left at once for a site that it named, however long one would back off', async () => {
    const receiver = start(receiverWith({ warm: 1, backoff: { baseMs: 1e9, maxMs: 1e9 } }));
    await until(() => receiver.readyCount() === 1);
    const [draining = ''] = warmRelays();
    const named = fleet.relays.filter(({ name }) => name !== draining).at(-1);
    const other = fleet.relays.filter(({ name }) => name !== draining).at(0);
    fleet.relay(draining).drain(60_000, [named?.origin ?? '']);
    await put('while it drains');
    await until(() => received.length === 1);
    fleet.relay(draining).closeAll(1012);
    await until(() => receiver.counts.ended_draining === 1 && receiver.readyCount() === 1);
    expect(warmRelays()).toEqual([named?.name]);
    expect(other?.recipients).toBe(0);
  });

  test('a relay that drains and does not close is left', async () => {
    const receiver = start(receiverWith({ warm: 1, backoff: { baseMs: 1e9, maxMs: 1e9 } }));
    await until(() => receiver.readyCount() === 1);
    const [draining = ''] = warmRelays();
    fleet.relay(draining).drain(0, []);
    await until(() => receiver.counts.ended_draining === 1 && receiver.readyCount() === 1);
    expect(warmRelays()).not.toContain(draining);
  });

  test('goes where the resolver says when only the name is known', async () => {
    fleet.answer = ['gcp'];
    const receiver = start(receiverWith({ fleet: dnsOnlyFleet(fleet.canonicalOrigin) }));
    await until(() => receiver.readyCount() === 1);
    expect(warmRelays()).toEqual(['gcp']);
    fleet.answer = ['hetzner'];
    fleet.relay('gcp').cut();
    await until(() => warmRelays().includes('hetzner') && receiver.readyCount() === 1);
    await put('found you');
    await until(() => received.length === 1);
  });

  test('a relay whose clock differs is asked for its time, and believed', async () => {
    for (const relay of fleet.relays) relay.skewMs = 3_600_000;
    const receiver = start(receiverWith({ warm: 1 }));
    await until(() => receiver.readyCount() === 1);
    expect(receiver.counts.ended_token_refused).toBeGreaterThan(0);
  });

  test('that is too slow asks for a smaller window', async () => {
    for (let index = 0; index < 8; index += 1) await put(`message ${index}`);
    const receiver = start(receiverWith({ warm: 1, window: 4, ackWhen: 'explicit' }));
    await until(() => received.length === 4);
    for (const relay of fleet.relays) relay.closeAll(4429);
    await until(() => receiver.counts.ended_too_slow === 1 && receiver.counts.duplicate === 2);
    expect(receiver.counts.duplicate).toBe(2);
  });
});

describe('the application', () => {
  test('that asks for the next message has acked the one before, and not the one in hand', async () => {
    await put('first');
    await put('second');
    const iterator = receiverWith({ warm: 1, ackBatchForMs: 1 }).messages(stop.signal);
    await iterator.next();
    expect(fleet.acked.size).toBe(0);
    await iterator.next();
    await until(() => fleet.acked.size === 1);
    await iterator.return();
    expect(fleet.acked.size).toBe(1);
  });

  test('that takes its time is not flooded: relays stop at the window', async () => {
    for (let index = 0; index < 50; index += 1) await put(`message ${index}`);
    const receiver = receiverWith({ warm: 1, window: 5 });
    const iterator = receiver.messages(stop.signal);
    await iterator.next();
    await until(() => receiver.counts.empty === 1);
    expect(receiver.counts.ended_queue_full).toBe(0);
    for (let taken = 1; taken < 50; taken += 1) await iterator.next();
    expect(receiver.counts.delivered).toBe(50);
    await iterator.return();
  });

  test('that stops has its last acks delivered before the sockets close', async () => {
    await put('last');
    start(receiverWith({ ackBatchForMs: 60_000 }));
    await until(() => received.length === 1);
    stop.abort();
    await running;
    await until(() => fleet.acked.size === 1);
  });

  test('may have several mailboxes on one socket', async () => {
    const second = await createMailbox(webRandom);
    const boxes: Mailbox[] = [];
    await put('for the first');
    await put('for the second', second);
    start(receiverWith({ mailboxes: [mailbox, second] }), ({ mailbox: box }) => boxes.push(box));
    await until(() => fleet.acked.size === 2);
    expect(new Set(boxes)).toEqual(new Set([mailbox, second]));
  });
});

describe('what cannot be decrypted', () => {
  test('is believed to be lost only when a second provider sends it so, then acked and counted', async () => {
    const stranger = await createMailbox(webRandom);
    const receiver = start(receiverWith());
    await put('fine');
    await put('not for us', { ...stranger, id: mailbox.id });
    await until(() => fleet.acked.size === 2);
    expect(received).toEqual(['fine']);
    expect(receiver.counts).toMatchObject({ undecryptable: 1, copy_undecryptable: 2 });
  });

  test('at one damaged site is read from another', async () => {
    fleet.relay('aws').isDamaging = true;
    fleet.relay('gcp').isBehind = true;
    const receiver = start(
      receiverWith({
        fleet: { canonicalOrigin: fleet.canonicalOrigin, sites: fleet.sites.slice(0, 2) },
      }),
    );
    await until(() => receiver.readyCount() === 2);
    await put('whole');
    await until(() => receiver.counts.copy_undecryptable === 1);
    expect(fleet.acked.size).toBe(0);
    fleet.relay('gcp').isBehind = false;
    fleet.relay('gcp').deliver();
    await until(() => fleet.acked.size === 1);
    expect(received).toEqual(['whole']);
    expect(receiver.counts.undecryptable).toBe(0);
  });

  test('is no matter of the client when it is encrypted in another way', async () => {
    start(receiverWith());
    const body = Buffer.from('opaque');
    fleet.put({
      mailbox: mailbox.id,
      id: Buffer.alloc(16, 7),
      coding: 'message/mls',
      body,
      acceptedSeconds: 1,
      ttlSeconds: 60,
    });
    await until(() => fleet.acked.size === 1);
    expect(received).toEqual(['opaque']);
  });
});
