/** Heads of push requests in their plainest form: what is one, and what is not. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePlainFields, parsePlainLine } from './push-head.ts';

const FIELDS = 'Host: relay.test\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\nContent-Length: 3';

describe('a request line', () => {
  test('of a push request gives its capability', () => {
    expect(parsePlainLine('POST /p/Ab-_9 HTTP/1.1')).toBe('Ab-_9');
  });

  test.each([
    'POST /p/ HTTP/1.1',
    'POST /p/a/b HTTP/1.1',
    'POST /p/a?x HTTP/1.1',
    'POST /p/%41 HTTP/1.1',
    'POST  /p/a HTTP/1.1',
    'POST /p/a HTTP/1.0',
    'POST /p/a HTTP/1.1 ',
    'post /p/a HTTP/1.1',
    'POST https://relay.test/p/a HTTP/1.1',
    `POST /p/${'a'.repeat(201)} HTTP/1.1`,
  ])('like %j is not plain', (line) => {
    expect(parsePlainLine(line)).toBeUndefined();
  });
});

describe('header lines', () => {
  test('give what a push request is judged by, and its length', () => {
    expect(parsePlainFields(`${FIELDS}\r\nX-Other: 1\r\nX-Other: 2\r\nConnection: Keep-Alive`)).toEqual({
      headers: {
        host: ['relay.test'],
        ttl: ['60'],
        'content-encoding': ['aes128gcm'],
        'content-length': ['3'],
        connection: ['Keep-Alive'],
      },
      length: 3,
    });
  });

  test.each([
    ['without a host', 'TTL: 60\r\nContent-Length: 3'],
    ['without a length', 'Host: x\r\nTTL: 60'],
    ['with two lengths', `${FIELDS}\r\nContent-Length: 3`],
    ['with two hosts', `${FIELDS}\r\nhost: y`],
    ['with two times to live', `${FIELDS}\r\nTTL: 61`],
    ['with chunks', `${FIELDS}\r\nTransfer-Encoding: chunked`],
    ['that expect something', `${FIELDS}\r\nExpect: 100-continue`],
    ['that upgrade', `${FIELDS}\r\nConnection: Upgrade\r\nUpgrade: websocket`],
    ['that close', `${FIELDS}\r\nConnection: close`],
    ['with a signed length', 'Host: x\r\nContent-Length: +3'],
    ['with a length of many zeros', 'Host: x\r\nContent-Length: 003'],
    ['with a list of lengths', 'Host: x\r\nContent-Length: 3, 3'],
    ['with a space before the colon', `${FIELDS}\r\nTTL : 60`],
    ['that are folded', `${FIELDS}\r\nX-Long: a\r\n b`],
    ['with a bare line feed', `${FIELDS}\r\nX-Two: a\nTTL: 61`],
    ['with a bare carriage return', `${FIELDS}\r\nX-Two: a\rb`],
    ['with a zero byte', `${FIELDS}\r\nX-Zero: a\0b`],
    ['with a letter beyond ASCII', `${FIELDS}\r\nX-Name: \u00e9`],
    ['with a line without a colon', `${FIELDS}\r\nTTL`],
    ['with an empty line', `${FIELDS}\r\n\r\nX: y`],
  ])('%s are not plain', (_, text) => {
    expect(parsePlainFields(text)).toBeUndefined();
  });
});

test('arbitrary text is plain or not, and never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      parsePlainLine(text);
      parsePlainFields(text);
    }),
  );
});
