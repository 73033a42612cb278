/**
 * Transfers and TSIG without sockets: who is refused and how, and what never makes the parser stumble.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import { answerWithAll } from '../core/failover.ts';
import { zoneFrom } from '../core/zone.ts';
import { encodeQuery, parseResponse, TYPE } from './message.ts';
import { parseQuery } from './query.ts';
import { createTransfers, type TransferReply } from './transfer.ts';
import { compileTransfer } from './transfer-zone.ts';
import { parseTsigKey, sealTsig, type TsigKey } from './tsig.ts';

const NOW_SECONDS = 1_800_000_000;
const manifest = testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true });
const content = zoneFrom({ manifest, self: 'aws', answer: answerWithAll(manifest, 9), ttlSeconds: 33 });
const terms = { ttlSeconds: 5, nowSeconds: NOW_SECONDS, previous: undefined };
const zone = compileTransfer(content, undefined, terms);

function keyNamed(name: string, fill: string): TsigKey {
  const key = parseTsigKey(`hmac-sha256:${name}:${Buffer.alloc(32, fill).toString('base64')}`);
  if (key === undefined) throw new Error('no key');
  return key;
}

const key = keyNamed('transfer', 'a');
const answer = createTransfers({ keys: [key], zone: () => zone });

function request(type: number, by: TsigKey, signedSeconds: number = NOW_SECONDS): Uint8Array {
  return sealTsig(encodeQuery(7, 'relay.example.com', type), { key: by, nowSeconds: signedSeconds }).message;
}

function reply(packet: Uint8Array, transport: 'udp' | 'tcp' = 'tcp'): TransferReply {
  const query = parseQuery(packet);
  if (query.kind !== 'query') throw new Error('not a query');
  return answer(packet, query, transport, NOW_SECONDS);
}

/** The error in the TSIG record that ends a message without other data. */
function tsigErrorOf({ messages }: TransferReply): number {
  return Buffer.from(messages[0] ?? []).readUInt16BE((messages[0]?.length ?? 4) - 4);
}

test('a key is read as dig writes it', () => {
  expect(key).toMatchObject({ name: 'transfer', algorithm: 'hmac-sha256' });
  for (const text of [
    '',
    'hmac-md5:a:AAAA',
    'hmac-sha256:a:short',
    'hmac-sha256:a..b:AAAAAAAAAAAAAAAAAAAAAA==',
  ]) {
    expect(parseTsigKey(text)).toBeUndefined();
  }
});

test('a transfer begins and ends with the SOA and has the fixed TTL', () => {
  const { rcode, messages } = reply(request(TYPE.AXFR, key));
  expect(rcode).toBe('NOERROR');
  const answers = messages.flatMap((message) => parseResponse(message)?.answers ?? []);
  expect(answers[0]).toMatchObject({ type: 'SOA', serial: NOW_SECONDS });
  expect(answers.at(-1)).toMatchObject({ type: 'SOA', serial: NOW_SECONDS });
  const apex = answers.filter((record) => record.name === 'relay.example.com' && record.type === 'A');
  expect(apex.map((record) => record.ttlSeconds)).toStrictEqual([5, 5, 5]);
});

test('a stranger, a forger and somebody with a wrong clock are refused by name', () => {
  expect(tsigErrorOf(reply(request(TYPE.AXFR, keyNamed('other', 'a'))))).toBe(17);
  expect(tsigErrorOf(reply(request(TYPE.AXFR, keyNamed('transfer', 'b'))))).toBe(16);
  const late = reply(request(TYPE.AXFR, key, NOW_SECONDS - 301));
  expect(late.rcode).toBe('NOTAUTH');
  const tail = Buffer.from(late.messages[0] ?? []).subarray(-10);
  expect([tail.readUInt16BE(0), tail.readUInt16BE(2), tail.readUIntBE(4, 6)]).toStrictEqual([
    18,
    6,
    NOW_SECONDS,
  ]);
  expect(reply(request(TYPE.AXFR, key, NOW_SECONDS - 300)).rcode).toBe('NOERROR');
});

test('over UDP there is the SOA and no transfer; other types are not answered to a key', () => {
  expect(reply(request(TYPE.SOA, key), 'udp').rcode).toBe('NOERROR');
  expect(reply(request(TYPE.AXFR, key), 'udp').rcode).toBe('REFUSED');
  expect(reply(request(TYPE.A, key), 'tcp').rcode).toBe('REFUSED');
});

test('the serial stays while nothing changes, and grows even if the clock goes back', () => {
  const same = compileTransfer(content, undefined, {
    ...terms,
    nowSeconds: NOW_SECONDS + 60,
    previous: zone,
  });
  expect(same).toBe(zone);
  const longer = zoneFrom({ manifest, self: 'aws', answer: answerWithAll(manifest, 9), ttlSeconds: 60 });
  expect(compileTransfer(longer, undefined, { ...terms, previous: zone })).toBe(zone);
  const answered = { ...answerWithAll(manifest, 10), targets: ['gcp/ipv4', 'gcp/ipv6'] as const };
  const other = zoneFrom({ manifest, self: 'aws', answer: answered, ttlSeconds: 60 });
  const changed = compileTransfer(other, undefined, {
    ...terms,
    nowSeconds: NOW_SECONDS - 999,
    previous: zone,
  });
  expect(changed.serial).toBe(NOW_SECONDS + 1);
});

test('a message that was changed anywhere is refused, and none makes the parser throw', () => {
  const good = request(TYPE.AXFR, key);
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const packet = Uint8Array.from(good);
      packet[at] = (packet[at] ?? 0) ^ change;
      const query = parseQuery(packet);
      if (query.kind !== 'query' || query.tsigAt === 0) return;
      // The id on the wire may differ from the signed one (RFC 8945 §5.1), and key names have no case.
      const isFree = at < 2 || ((packet[at] ?? 0) ^ (good[at] ?? 0)) === 0x20;
      if (!isFree) expect(answer(packet, query, 'tcp', NOW_SECONDS).rcode).toBe('NOTAUTH');
      else answer(packet, query, 'tcp', NOW_SECONDS);
    }),
    { numRuns: 3000 },
  );
  for (let length = 0; length < good.length; length += 1) {
    const query = parseQuery(good.subarray(0, length));
    if (query.kind === 'query') expect(query.tsigAt).toBe(0);
  }
});
