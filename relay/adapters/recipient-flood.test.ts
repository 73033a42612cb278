/** Recipients that send more than they have reason to, over real WebSockets: they wait, and nobody else does. */
import { EventEmitter, once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { LAST_TEXT, upgradeRequest, webSocketFrame } from '../../test/support/attacker.ts';
import { eventually } from '../../test/support/eventually.ts';
import { messageFor, type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';
import { ack, connect, hello, store } from '../../test/support/socket-client.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';
import { FRAMES_BURST } from '../core/frame-allowance.ts';
import { PIECES_MAX } from '../recipients.ts';

let relay: ServedRelay | undefined;

async function serve(): Promise<ServedRelay> {
  relay = await serveRelay({});
  return relay;
}

afterEach(async () => {
  await relay?.[Symbol.asyncDispose]();
  relay = undefined;
});

test('one that sends more than it has reason to is not read for a while, and nothing of it is lost', async () => {
  const at = await serve();
  const message = messageFor(at, 'm');
  await store(at, [message]);
  const client = await connect(at);
  await hello(client, at, 8);
  await eventually('the message', () => client.ids[0]);
  const beganMs = performance.now();
  for (let beat = 0; beat < FRAMES_BURST + 4; beat += 1) client.socket.send('{"t":"beat"}');
  await eventually('a name for it', () => at.events.happened.includes('slowed') || undefined);
  ack(client, at, [message.id]);
  await eventually('the ack', () => at.events.happened.includes('acked 1') || undefined);
  expect(performance.now() - beganMs).toBeGreaterThan(1000);
  expect(at.events.happened.filter((event) => event === 'slowed')).toHaveLength(1);
  expect(at.recipients.count()).toBe(1);
});

test('one whose connection is being closed is not read on', async () => {
  const at = await serve();
  let isPaused = false;
  const socket = Object.assign(new EventEmitter(), {
    bufferedAmount: 0,
    send: () => undefined,
    pause: () => {
      isPaused = true;
    },
    resume: () => undefined,
    close: () => undefined,
    terminate: () => undefined,
  });
  at.recipients.welcome(socket);
  socket.emit('message', Buffer.from('rubbish'), false);
  for (let ping = 0; ping < FRAMES_BURST; ping += 1) socket.emit('ping');
  expect(isPaused).toBe(true);
  socket.emit('close');
  expect(at.events.happened).toContain('sessionClosed malformed');
});

test('one that acks each message by itself is always read', async () => {
  const at = await serve();
  const messages = Array.from({ length: FRAMES_BURST + 200 }, (_, index) => messageFor(at, `${index}`));
  const client = await connect(at);
  client.socket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary) return;
    const id = data.toString('base64url', 3, 19);
    ack(client, at, [id]);
  });
  await hello(client, at, 64);
  await store(at, messages);
  await eventually('all acks', () => {
    const acks = at.events.happened.filter((event) => event === 'acked 1').length;
    return acks === messages.length || undefined;
  });
  expect(at.events.happened).not.toContain('slowed');
});

test('a frame that comes in more pieces than a network makes of it ends its connection', async () => {
  const at = await serve();
  const socket = await at.connect();
  socket.write(upgradeRequest('x'));
  await once(socket, 'data');
  const closed = socketClosed(socket.resume());
  const frame = webSocketFrame(LAST_TEXT, Buffer.alloc(4 * PIECES_MAX));
  // Each write is a record of TLS, and so a piece for whoever reads it.
  for (const byte of frame.subarray(0, 2 * PIECES_MAX)) {
    if (!socket.writable) break;
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
  }
  await closed;
  await eventually(
    'a name for it',
    () => at.events.happened.includes('sessionClosed malformed') || undefined,
  );
});

test('a frame in more parts than anybody needs, of whatever size, ends its connection', async () => {
  const at = await serve();
  const client = await connect(at);
  for (let part = 0; part <= 64; part += 1) client.socket.send('', { fin: false });
  expect(await client.closed).toBe(1008);
});
