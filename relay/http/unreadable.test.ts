/** What Node's HTTP does not hand on has a name and a counter too, and what it need not refuse is a request like others. */
import { describe, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';
import { socketClosed } from '../../test/support/socket-closed.ts';

const BODY = ciphertext('one');

/** What comes in answer to `bytes` until the relay closes, or until `wanted` was heard. */
async function answerTo(
  relay: ServedRelay,
  bytes: readonly (string | Buffer)[],
  wanted = /$^/,
): Promise<string> {
  const socket = await relay.connect();
  let heard = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    heard += chunk;
    if (wanted.test(heard)) socket.destroy();
  });
  for (const part of bytes) socket.write(part);
  await socketClosed(socket);
  return heard;
}

function push(relay: ServedRelay, ...lines: readonly string[]): readonly (string | Buffer)[] {
  const head = [
    `POST ${relay.recipient.path} HTTP/1.1`,
    'TTL: 60',
    'Content-Encoding: aes128gcm',
    `Content-Length: ${BODY.length}`,
    ...lines,
  ];
  return [`${head.join('\r\n')}\r\n\r\n`, BODY];
}

describe('refused by name', () => {
  test.each<[string, number, string, readonly string[]]>([
    ['two lengths', 400, 'request_unreadable', ['Host: x', 'Content-Length: 7']],
    ['a length and chunks', 400, 'request_unreadable', ['Host: x', 'Transfer-Encoding: chunked']],
    ['no host', 400, 'host_ambiguous', []],
    ['headers beyond 8 KiB', 431, 'headers_too_large', ['Host: x', `X: ${'x'.repeat(9000)}`]],
  ])('%s', async (_, status, code, lines) => {
    await using relay = await serveRelay();
    const answer = await answerTo(relay, push(relay, ...lines));
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain('\r\nContent-Type: application/problem+json\r\n');
    expect(answer).toContain(`"code":"${code}"`);
    expect(relay.events.happened).toEqual([`refused ${code}`]);
  });

  test('a head that does not come in time', async () => {
    await using relay = await serveRelay({ clientLimits: { headersTimeoutMs: 100, checkEveryMs: 20 } });
    const answer = await answerTo(relay, ['GET /v1/info HTTP/1.1\r\n']);
    expect(answer).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_too_slow"/);
    expect(relay.events.happened).toEqual(['refused request_too_slow']);
  });

  test('a WebSocket without a key', async () => {
    await using relay = await serveRelay();
    const upgrade = 'GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await answerTo(relay, [upgrade])).toMatch(/^HTTP\/1\.1 400 /);
    expect(relay.events.happened).toEqual(['refused request_unreadable']);
  });

  test('a request to be a tunnel', async () => {
    await using relay = await serveRelay();
    const answer = await answerTo(relay, ['CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n']);
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*"code":"request_unreadable"/);
    expect(relay.events.happened).toEqual(['refused request_unreadable']);
  });

  test('a handshake that fails', async () => {
    await using relay = await serveRelay();
    await expect(
      relay.connect({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }),
    ).rejects.toThrow();
    await eventually('a name for it', () =>
      relay.events.happened.includes('turnedAway tls_failed') ? true : undefined,
    );
  });
});

test('rubbish behind a request is refused behind its answer', async () => {
  await using relay = await serveRelay();
  const token = await relay.recipient.token();
  const poll = `GET /v1/messages?wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  const answer = await answerTo(relay, [poll, 'rubbish\r\n\r\n', 'and more']);
  expect(answer.match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
  expect(relay.events.happened.filter((event) => event.startsWith('refused'))).toEqual([
    'refused request_unreadable',
  ]);
});

describe('a request like any other is', () => {
  test.each<[string, readonly string[]]>([
    [
      'one that would rather speak HTTP/2',
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'],
    ],
    [
      'one that would rather speak WebSocket, elsewhere than there',
      ['Connection: Upgrade', 'Upgrade: websocket'],
    ],
    ['one that expects what nobody knows', ['Expect: 200-ok']],
    ['one that would like a receipt', ['Prefer: respond-async']],
    ['one that waits to be asked for its body', ['Expect: 100-continue']],
  ])('%s', async (_, lines) => {
    await using relay = await serveRelay();
    const answer = await answerTo(relay, push(relay, 'Host: x', ...lines), /HTTP\/1\.1 201 [^]*\r\n\r\n/);
    expect(answer).toContain('HTTP/1.1 201 Created\r\n');
    expect(await relay.store.pending(relay.recipient.tag, 10, 0)).toHaveLength(1);
  });
});

test('a client that does not read its answer is cut', async () => {
  await using relay = await serveRelay({ clientLimits: { stalledMs: 300, checkEveryMs: 50 } });
  for (let place = 0; place < 64; place += 1) {
    const headers = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
    await relay.ask('POST', relay.recipient.path, { headers, body: ciphertext(`${place}`, 4900) });
  }
  const token = await relay.recipient.token();
  const connections = async (): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>();
    relay.frontDoor.server.getConnections((_, count) => resolve(count));
    return promise;
  };
  await eventually('nobody', async () => ((await connections()) === 0 ? true : undefined));
  const socket = await relay.connect();
  socket.pause();
  const ask = `GET /v1/messages?wait=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  // More than the buffers of both ends hold.
  socket.write(ask.repeat(40));
  await eventually('nobody', async () => ((await connections()) === 0 ? true : undefined));
  socket.destroy();
});
