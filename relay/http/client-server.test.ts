/** Limits on clients that are slow on purpose, behind a front door, where the HTTPS server itself never listens. */
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';
import { stallHandshake } from '../../test/support/stalled-handshake.ts';
import { WAITING_REQUESTS_MAX } from './client-server.ts';

const LIMITS = { headersTimeoutMs: 200, requestTimeoutMs: 400, checkEveryMs: 50 };

/** What arrives until the relay closes the connection. */
async function untilClosed(socket: TLSSocket): Promise<string> {
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    received += chunk;
  });
  await socketClosed(socket);
  return received;
}

/** Sends `text` a byte at a time for as long as it takes. */
function dribble(socket: TLSSocket, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    if (!socket.destroyed) socket.write(text[at % text.length] ?? 'x');
    at += 1;
  }, 20);
  socket.on('close', () => clearInterval(timer));
}

function head(relay: ServedRelay, length: number): string {
  return (
    `POST ${relay.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n` +
    `Content-Length: ${length}\r\n\r\n`
  );
}

test('a client that never ends its headers is cut', async () => {
  await using relay = await serveRelay({ clientLimits: LIMITS });
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write('GET /v1/info HTTP/1.1\r\n');
  dribble(socket, 'X-Header: slow\r\n');
  expect(await received).toMatch(/^HTTP\/1\.1 408 /);
});

test('a client that never ends its body is cut, and has sent nothing', async () => {
  await using relay = await serveRelay({ clientLimits: LIMITS });
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write(head(relay, 4000));
  dribble(socket, 'x');
  await received;
  await eventually('a name for it', () =>
    relay.events.happened.includes('refused body_incomplete') ? true : undefined,
  );
  expect(await relay.store.pending(relay.recipient.tag, 10, 0)).toEqual([]);
});

test('a client that goes on for ever with what was refused is cut', async () => {
  await using relay = await serveRelay({ clientLimits: LIMITS });
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write(head(relay, 4_000_000));
  dribble(socket, 'x');
  expect(await received).toMatch(/^HTTP\/1\.1 413 /);
  expect(relay.events.happened).toEqual(['refused body_too_large']);
});

test('a client that stops in the middle of what was refused is cut', async () => {
  await using relay = await serveRelay({ clientLimits: { requestTimeoutMs: 60_000 } });
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write(head(relay, 4_000_000));
  socket.write('x');
  expect(await received).toMatch(/^HTTP\/1\.1 413 /);
});

test.each<[string, string, number, string]>([
  ['that is too large', 'Content-Encoding: aes128gcm', 3_000_000, '413'],
  ['in clear', 'Content-Type: text/plain', 60_000, '415'],
])(
  'a client that goes on with a body %s after the answer is heard to the end',
  async (_, line, length, status) => {
    await using at = await serveRelay();
    const socket = await at.connect();
    const answered = once(socket, 'data');
    socket.write(
      `POST ${at.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\n${line}\r\nContent-Length: ${length}\r\n\r\n`,
    );
    const [answer] = (await answered) as [Buffer];
    expect(answer.toString('latin1', 9, 12)).toBe(status);
    const closed = socketClosed(socket);
    // The relay has refused at the headers. What a sender goes on to send must not be met by a reset, or it would see
    // a broken connection and try again for ever.
    for (let sent = 0; sent < length; sent += 50_000) {
      const written = Promise.withResolvers<Error | null | undefined>();
      socket.write(Buffer.alloc(Math.min(50_000, length - sent)), (error) => written.resolve(error));
      expect(await written.promise).toBeFalsy();
    }
    await closed;
  },
);

test('a client that never ends its body after the answer is cut', async () => {
  await using at = await serveRelay();
  const socket = await at.connect();
  const closed = socketClosed(socket);
  socket.write(`POST ${at.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Type: text/plain\r\n`);
  socket.write(`Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = Buffer.concat([Buffer.from('8000\r\n'), Buffer.alloc(0x8000), Buffer.from('\r\n')]);
  let bytes = 0;
  const more = (error?: Error | null): void => {
    bytes += chunk.length;
    if (!error && !socket.destroyed) socket.write(chunk, more);
  };
  more();
  await closed;
  expect(bytes).toBeLessThan(40_000_000);
});

test('a client that connects and says nothing is cut', async () => {
  await using relay = await serveRelay({ clientLimits: LIMITS });
  const socket = await relay.connect();
  await untilClosed(socket);
});

test('a client that begins a handshake and does not end it is cut', async () => {
  await using relay = await serveRelay({ clientLimits: { ...LIMITS, handshakeTimeoutMs: 100 } });
  const socket = await stallHandshake(relay.port, 'aws.relay.test');
  await socketClosed(socket);
});

test('a sender that does not wait for its answers gets all of them, in order', async () => {
  await using relay = await serveRelay();
  const socket = await relay.connect();
  const asked = Array.from({ length: WAITING_REQUESTS_MAX }, (_, place) =>
    place % 2 === 0 ? 'v1/info' : 'none',
  );
  const heard: string[] = [];
  socket.setEncoding('latin1').on('data', (chunk: string) => heard.push(chunk));
  socket.write(asked.map((path) => `GET /${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
  const answers = (): readonly string[] => heard.join('').match(/(?<=HTTP\/1\.1 )\d+/g) ?? [];
  await eventually('all answers', () => answers().length >= asked.length || undefined);
  expect(answers()).toEqual(asked.map((path) => (path === 'none' ? '404' : '200')));
});

test('one that sends a heap of them is cut, by a name of its own', async () => {
  await using relay = await serveRelay();
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write('GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(4 * WAITING_REQUESTS_MAX));
  await received;
  expect(relay.events.happened).toContain('turnedAway too_many_requests');
});

test('headers beyond 8 KiB are refused', async () => {
  await using relay = await serveRelay();
  const socket = await relay.connect();
  const received = untilClosed(socket);
  socket.write(`GET /v1/info HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(9000)}\r\n\r\n`);
  expect(await received).toMatch(/^HTTP\/1\.1 431 /);
});
