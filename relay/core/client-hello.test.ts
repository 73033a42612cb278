/** The server name, out of real ClientHellos and out of everything that is none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { captureClientHello as capture } from '../../test/support/stalled-handshake.ts';
import { readServerName } from './client-hello.ts';

const NAME = 'peer.aws.relay.example.com';

/** The same handshake in records of at most `size` bytes, as RFC 8446 §5.1 allows. */
function split(hello: Buffer, size: number): Buffer {
  const content = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) {
    const fragment = content.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment);
  }
  return Buffer.concat(records);
}

const hello = await capture({ servername: NAME });

describe('a ClientHello of node:tls', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('of %s says the name it is for', async (version) => {
    const bytes = await capture({ servername: NAME, minVersion: version, maxVersion: version });
    expect(readServerName(bytes)).toEqual({ state: 'complete', serverName: NAME });
  });

  test('without a name is complete all the same', async () => {
    expect(readServerName(await capture({}))).toEqual({ state: 'complete', serverName: undefined });
  });

  test('says its name in small letters', async () => {
    const bytes = await capture({ servername: 'Peer.AWS.example' });
    expect(readServerName(bytes)).toEqual({ state: 'complete', serverName: 'peer.aws.example' });
  });

  test('is incomplete at every byte before its last', () => {
    for (let length = 0; length < hello.length; length += 1) {
      expect(readServerName(hello.subarray(0, length))).toEqual({ state: 'incomplete' });
    }
  });

  test.each([1, 7, 100, 500])('may come in records of %i bytes', (size) => {
    const records = split(hello, size);
    expect(readServerName(records)).toEqual({ state: 'complete', serverName: NAME });
    expect(readServerName(records.subarray(0, -1))).toEqual({ state: 'incomplete' });
  });

  test('may be followed by what the client sends early (RFC 8446 appendix D.4)', () => {
    const changeCipherSpec = Buffer.of(20, 3, 3, 0, 1, 1);
    const earlyData = Buffer.of(23, 3, 3, 0, 2, 7, 7);
    expect(readServerName(Buffer.concat([hello, changeCipherSpec, earlyData]))).toEqual({
      state: 'complete',
      serverName: NAME,
    });
  });
});

describe('no TLS is', () => {
  test.each([
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['one byte of one', Buffer.from('G')],
    ['a handshake of SSL 2', Buffer.from('802e010002', 'hex')],
    ['an empty record', Buffer.of(22, 3, 1, 0, 0)],
    ['a record that is too long', Buffer.of(22, 3, 1, 0x40, 0x01)],
    ['a ServerHello', Buffer.of(22, 3, 3, 0, 4, 2, 0, 0, 0)],
  ])('%s', (_, bytes) => {
    expect(readServerName(bytes)).toEqual({ state: 'not_tls' });
  });
});

test('arbitrary bytes never throw, nor does a ClientHello with bytes changed', () => {
  const changes = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), changes, (bytes, changed) => {
      readServerName(bytes);
      readServerName(Buffer.concat([Buffer.of(22, 3, 1, 1, 0, 1), bytes]));
      const damaged = Buffer.from(hello);
      for (const [at, value] of changed) damaged.writeUInt8(value, at);
      readServerName(damaged);
    }),
  );
});
