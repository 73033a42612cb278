/** What is read as a plain push request is the same request to Node's HTTP, however it is made. */
import { createServer, type IncomingMessage } from 'node:http';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePlainFields } from '../core/push-head.ts';
import { SINGLE_HEADERS } from '../core/push-request.ts';

const name = fc.constantFrom(
  ...SINGLE_HEADERS,
  'TTL',
  'Host',
  'Content-Length',
  'content-length',
  'Connection',
  'Transfer-Encoding',
  'Expect',
  'X-Other',
  'Cookie',
  'Keep-Alive',
);
const value = fc.constantFrom(
  '60',
  '3',
  ' 3 ',
  '',
  '\t',
  'relay.test',
  'keep-alive',
  'close',
  'chunked',
  'a b',
  '3,3',
);
const separator = fc.constantFrom(': ', ':', ':\t', ' : ', ' ');
const line = fc.tuple(name, separator, value).map((parts) => parts.join(''));
const ending = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\n ');
const byte = fc.integer({ min: 0, max: 255 });
/** Header lines that are mostly good, with now and then a byte that is another one. */
const fields = fc
  .tuple(
    fc.shuffledSubarray(['Host: relay.test', 'TTL: 60', 'Content-Length: 3', 'Connection: keep-alive'], {
      minLength: 2,
    }),
    fc.array(line, { maxLength: 3 }),
    fc.array(ending, { minLength: 7, maxLength: 7 }),
    fc.option(fc.tuple(fc.nat(200), byte), { freq: 3 }),
  )
  .map(([good, others, endings, altered]) => {
    const lines = [...good, ...others];
    const text = lines.map((one, place) => (place === 0 ? one : `${endings[place] ?? ''}${one}`)).join('');
    if (altered === null) return text;
    const at = altered[0] % text.length;
    return text.slice(0, at) + String.fromCharCode(altered[1]) + text.slice(at + 1);
  });

/** What Node's HTTP reads of a request; undefined when it refuses it. */
async function readByNode(text: string): Promise<IncomingMessage | undefined> {
  const read = Promise.withResolvers<IncomingMessage | undefined>();
  const server = createServer({ maxHeaderSize: 8192 }, (request) => read.resolve(request));
  server.on('clientError', () => read.resolve(undefined));
  const [inside, outside] = duplexPair();
  server.emit('connection', inside);
  outside.write(text, 'latin1');
  const request = await read.promise;
  outside.destroy();
  inside.destroy();
  return request;
}

test('what is plain says the same to Node', async () => {
  let plain = 0;
  await fc.assert(
    fc.asyncProperty(fields, async (text) => {
      const parsed = parsePlainFields(text);
      if (parsed === undefined) return;
      plain += 1;
      const request = await readByNode(`POST /p/a HTTP/1.1\r\n${text}\r\n\r\n${'x'.repeat(parsed.length)}`);
      expect(request?.httpVersion).toBe('1.1');
      for (const one of [...SINGLE_HEADERS, 'host', 'content-length', 'connection']) {
        expect(request?.headersDistinct[one]?.map((text) => text.trim())).toEqual(parsed.headers[one]);
      }
      expect(request?.headersDistinct['transfer-encoding']).toBeUndefined();
    }),
    { numRuns: 20_000 },
  );
  expect(plain).toBeGreaterThan(50);
});
