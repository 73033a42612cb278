/**
 * From packets to replies: what every kind of question gets, and that no packet breaks anything.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesOf, decoded, replyTo } from '../../test/support/dns-reply.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { answerWithAll } from '../core/failover.ts';
import { zoneFrom } from '../core/zone.ts';
import { compileZone } from './compile.ts';
import { CLASS_IN, encodeQuery, parseResponse, type Response, TYPE } from './message.ts';
import { parseQuery } from './query.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true });
const zone = compileZone(
  zoneFrom({ manifest, self: 'aws', answer: answerWithAll(manifest, 9), ttlSeconds: 6 }),
  undefined,
);

function ask(name: string, type: number, edns?: number): Response {
  const query = encodeQuery(7, name, type, edns === undefined ? {} : { payloadBytesMax: edns });
  return decoded(replyTo(query, zone));
}

/** A query with one byte or more of it replaced. */
function changed(query: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = Uint8Array.from(query);
  copy.set(bytes, at);
  return copy;
}

const apexQuery = encodeQuery(7, 'relay.example.com', TYPE.A);

describe('answers', () => {
  test('the apex gives the addresses of the answer, with authority', () => {
    const response = ask('relay.example.com', TYPE.A);
    expect(response).toMatchObject({ id: 7, rcode: 0, authoritative: true, truncated: false });
    expect(response.answers).toStrictEqual(
      ['192.0.2.1', '192.0.2.11', '192.0.2.21'].map((address) => ({
        name: 'relay.example.com',
        type: 'A',
        ttlSeconds: 6,
        address,
      })),
    );
    expect(ask('relay.example.com', TYPE.AAAA).answers).toHaveLength(3);
  });

  test('each turn begins with another site, and turns are even', () => {
    const firsts = Array.from({ length: 300 }, (_, index) => {
      const [first] = decoded(replyTo(apexQuery, zone, { transport: 'udp', turn: index / 300 })).answers;
      return first?.type === 'A' ? first.address : '';
    });
    for (const address of ['192.0.2.1', '192.0.2.11', '192.0.2.21']) {
      expect(firsts.filter((first) => first === address)).toHaveLength(100);
    }
  });

  test("a site's name, a nameserver's name, NS with its addresses, and SOA", () => {
    expect(ask('gcp.relay.example.com', TYPE.A).answers).toMatchObject([
      { address: '192.0.2.11', ttlSeconds: 300 },
    ]);
    expect(ask('ns-gcp.relay.example.com', TYPE.A).answers).toMatchObject([
      { address: '198.51.100.2', ttlSeconds: 3600 },
    ]);
    const ns = ask('relay.example.com', TYPE.NS);
    expect(ns.answers).toMatchObject([
      { host: 'ns-aws.relay.example.com' },
      { host: 'ns-gcp.relay.example.com' },
      { host: 'ns-hetzner.relay.example.com' },
    ]);
    expect(ns.additionals).toMatchObject([
      { name: 'ns-aws.relay.example.com', address: '198.51.100.1' },
      { name: 'ns-gcp.relay.example.com', address: '198.51.100.2' },
      { name: 'ns-hetzner.relay.example.com', address: '198.51.100.3' },
    ]);
    expect(ask('relay.example.com', TYPE.SOA).answers).toMatchObject([
      { primary: 'ns-aws.relay.example.com', serial: 7 * 65_536 + 9, negativeTtlSeconds: 5 },
    ]);
  });

  test('ANY gets one record set (RFC 8482)', () => {
    const { answers } = ask('relay.example.com', TYPE.ANY);
    expect(new Set(answers.map((record) => record.type))).toStrictEqual(new Set(['A']));
  });

  test('the question comes back byte for byte, and its case in the records too', () => {
    const query = encodeQuery(7, 'GCP.rElAy.eXaMpLe.CoM', TYPE.A);
    const reply = bytesOf(replyTo(query, zone));
    expect(reply.subarray(12, query.length)).toStrictEqual(query.subarray(12));
    expect(parseResponse(reply)?.answers).toMatchObject([{ name: 'GCP.rElAy.eXaMpLe.CoM' }]);
  });
});

describe('negative answers', () => {
  const soa = { name: 'relay.example.com', type: 'SOA', ttlSeconds: 5, serial: 7 * 65_536 + 9 };

  test.each(['nobody.relay.example.com', 'a.b.aws.relay.example.com'])('%s does not exist', (name) => {
    const response = ask(name, TYPE.A);
    expect(response).toMatchObject({ rcode: 3, authoritative: true, answers: [] });
    expect(response.authorities).toMatchObject([soa]);
  });

  test.each([16, 43, 257, 65])('a name without records of type %i says so, and for how long', (type) => {
    const response = ask('relay.example.com', type);
    expect(response).toMatchObject({ rcode: 0, authoritative: true, answers: [] });
    expect(response.authorities).toMatchObject([soa]);
  });
});

describe('refusals', () => {
  test.each(['example.com', 'xrelay.example.com', 'relay.example.org', ''])('%j is not ours', (name) => {
    expect(ask(name, TYPE.A)).toMatchObject({ rcode: 5, authoritative: false, answers: [], authorities: [] });
  });

  test('zone transfers and other classes are refused', () => {
    expect(ask('relay.example.com', TYPE.AXFR).rcode).toBe(5);
    expect(ask('relay.example.com', TYPE.IXFR).rcode).toBe(5);
    expect(decoded(replyTo(changed(apexQuery, apexQuery.length - 1, 3), zone)).rcode).toBe(5);
  });

  test('before there is an answer the server has failed, and says so', () => {
    expect(decoded(replyTo(apexQuery, undefined))).toMatchObject({ rcode: 2, authoritative: false });
  });

  test('other opcodes are not implemented', () => {
    for (const opcode of [1, 2, 4, 5, 15]) {
      expect(decoded(replyTo(changed(apexQuery, 2, opcode << 3), zone))).toMatchObject({
        id: 7,
        rcode: 4,
      });
    }
  });

  test('responses and scraps get no reply', () => {
    expect(replyTo(changed(apexQuery, 2, 0x80), zone)).toStrictEqual({
      kind: 'discarded',
      reason: 'not_a_query',
    });
    expect(replyTo(apexQuery.subarray(0, 11), zone)).toStrictEqual({
      kind: 'discarded',
      reason: 'too_short',
    });
  });

  test.each([
    ['no question', changed(apexQuery, 4, 0, 0)],
    ['two questions', changed(apexQuery, 4, 0, 2)],
    ['65,535 questions', changed(apexQuery, 4, 255, 255)],
    ['an answer', changed(apexQuery, 6, 0, 1)],
    ['an authority', changed(apexQuery, 8, 0, 1)],
    ['four additional records', changed(apexQuery, 10, 0, 4)],
    ['an additional record that is missing', changed(apexQuery, 10, 0, 1)],
    ['a compressed question', Uint8Array.of(0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1)],
    ['bytes after the end', Uint8Array.from([...apexQuery, 0])],
  ])('%s is malformed', (_, packet) => {
    expect(decoded(replyTo(packet, zone))).toMatchObject({
      id: 7,
      rcode: 1,
      answers: [],
      question: undefined,
    });
  });
});

describe('EDNS', () => {
  const withEdns = encodeQuery(7, 'relay.example.com', TYPE.A, { payloadBytesMax: 4096 });
  const optAt = withEdns.length - 11;
  /** An option of three bytes that says it has `length`. */
  const option = (length: number): Uint8Array =>
    Uint8Array.from([...withEdns.subarray(0, -2), 0, 7, 0, 99, 0, length, 1, 2, 3]);

  test('OPT is answered with OPT, and only then', () => {
    expect(bytesOf(replyTo(withEdns, zone)).subarray(-11, -6)).toStrictEqual(
      Uint8Array.of(0, 0, 41, 1232 >> 8, 1232 & 255),
    );
    expect(bytesOf(replyTo(apexQuery, zone))[11]).toBe(0);
  });

  test('another version is refused with ours (BADVERS)', () => {
    expect(decoded(replyTo(changed(withEdns, optAt + 6, 1), zone))).toMatchObject({
      rcode: 16,
      answers: [],
    });
  });

  test('the DO bit comes back as it came', () => {
    const reply = bytesOf(replyTo(changed(withEdns, optAt + 7, 0x80), zone));
    expect(reply.at(-4)).toBe(0x80);
    expect(bytesOf(replyTo(withEdns, zone)).at(-4)).toBe(0);
  });

  test('unknown options are ignored, options that overrun their record are malformed', () => {
    expect(decoded(replyTo(option(3), zone)).rcode).toBe(0);
    expect(decoded(replyTo(option(4), zone)).rcode).toBe(1);
    expect(decoded(replyTo(option(2), zone)).rcode).toBe(1);
  });

  test('two OPT records, or one with a name, are malformed', () => {
    const opt = withEdns.subarray(-11);
    const two = changed(Uint8Array.from([...withEdns, ...opt]), 10, 0, 2);
    expect(decoded(replyTo(two, zone)).rcode).toBe(1);
    const named = Uint8Array.from([...withEdns.subarray(0, optAt), 1, 97, ...opt]);
    expect(decoded(replyTo(named, zone)).rcode).toBe(1);
  });

  test('another additional record is skipped', () => {
    const record = [1, 97, 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 2, 9, 9];
    const packet = changed(Uint8Array.from([...withEdns, ...record]), 10, 0, 2);
    expect(decoded(replyTo(packet, zone)).rcode).toBe(0);
  });
});

describe('size', () => {
  const large = testManifest(
    Array.from({ length: 16 }, (_, index) => `site-${String.fromCharCode(97 + index)}`),
    { ipv6: true, addresses: 4 },
  );
  const largeZone = compileZone(
    zoneFrom({ manifest: large, self: 'site-a', answer: answerWithAll(large, 1), ttlSeconds: 6 }),
    undefined,
  );

  test('the largest answer fits into 512 bytes', () => {
    for (const type of [TYPE.A, TYPE.AAAA]) {
      const reply = bytesOf(replyTo(encodeQuery(7, 'relay.example.com', type), largeZone));
      expect(parseResponse(reply)).toMatchObject({ truncated: false });
      expect(reply.length).toBeLessThanOrEqual(512);
    }
  });

  test('what does not fit loses first its additional records, and then all records and says so', () => {
    const query = encodeQuery(7, 'relay.example.com', TYPE.NS);
    const whole = bytesOf(replyTo(query, largeZone, { transport: 'tcp', turn: 0 }));
    expect(parseResponse(whole)).toMatchObject({ truncated: false });
    expect(parseResponse(whole)?.additionals).toHaveLength(16);
    const over = parseResponse(bytesOf(replyTo(query, largeZone)));
    expect(over).toMatchObject({ truncated: false, additionals: [] });
    expect(over?.answers).toHaveLength(16);

    const longNames = { ...large, zone: `${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(60)}.org` };
    const renamed = longNames.sites.map((site, index) => ({ ...site, name: `a-long-name-${index}` }));
    const huge = { ...longNames, sites: renamed };
    const hugeZone = compileZone(
      zoneFrom({ manifest: huge, self: 'a-long-name-0', answer: answerWithAll(huge, 1), ttlSeconds: 6 }),
      undefined,
    );
    const cut = parseResponse(bytesOf(replyTo(encodeQuery(7, huge.zone, TYPE.NS), hugeZone)));
    expect(cut).toMatchObject({ truncated: true, answers: [], additionals: [] });
    const whole2 = replyTo(encodeQuery(7, huge.zone, TYPE.NS), hugeZone, { transport: 'tcp', turn: 0 });
    expect(decoded(whole2).answers).toHaveLength(16);
  });
});

/** Whatever comes, the reply is bounded, well formed and about the same id. */
function holds(packet: Uint8Array): void {
  for (const transport of ['udp', 'tcp'] as const) {
    const reply = replyTo(packet, zone, { transport, turn: 0.99 });
    if (reply.kind === 'discarded') continue;
    expect(reply.bytes.length).toBeLessThanOrEqual(transport === 'udp' ? 1232 : 65_535);
    expect(reply.bytes.subarray(0, 2)).toStrictEqual(Uint8Array.from(packet.subarray(0, 2)));
    const response = parseResponse(reply.bytes);
    expect(response).toBeDefined();
    const parsed = parseQuery(packet);
    const hasEdns = parsed.kind === 'query' && parsed.ednsVersion !== -1;
    if (transport === 'udp' && !hasEdns) expect(reply.bytes.length).toBeLessThanOrEqual(512);
  }
}

describe('hostile input', () => {
  const queries = [
    apexQuery,
    encodeQuery(1, 'aws.relay.example.com', TYPE.AAAA, { payloadBytesMax: 1232 }),
    encodeQuery(2, 'nobody.relay.example.com', TYPE.ANY, { payloadBytesMax: 65_535 }),
  ];

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), holds), { numRuns: 2000 });
  });

  test('every prefix of every query', () => {
    for (const query of queries)
      for (let length = 0; length <= query.length; length += 1) holds(query.subarray(0, length));
  });

  test('queries with some bytes changed', () => {
    const mutation = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...queries),
        fc.array(mutation, { minLength: 1, maxLength: 6 }),
        (query, changes) => {
          const packet = Uint8Array.from(query);
          for (const [at, byte] of changes) packet[at % packet.length] = byte;
          holds(packet);
        },
      ),
      { numRuns: 5000 },
    );
  });

  test('the packet that some decoders turn into 131,070 records', () => {
    const packet = new Uint8Array(86);
    packet.set([0, 7, 0, 0, 255, 255, 255, 255]);
    expect(decoded(replyTo(packet, zone)).rcode).toBe(1);
    expect(parseResponse(changed(packet, 2, 0x80))).toBeUndefined();
  });

  test('our decoder of responses survives anything, too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        parseResponse(changed(Uint8Array.from([...new Uint8Array(3), ...bytes]), 2, 0x80));
      }),
      { numRuns: 2000 },
    );
    const whole = bytesOf(replyTo(encodeQuery(7, 'relay.example.com', TYPE.NS), zone));
    for (let length = 0; length < whole.length; length += 1) {
      expect(parseResponse(whole.subarray(0, length))).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 8 }), (changes) => {
        const packet = Uint8Array.from(whole);
        for (const [at, byte] of changes) packet[at % packet.length] = byte;
        parseResponse(packet);
      }),
      { numRuns: 5000 },
    );
  });
});

test('a query says what it asks', () => {
  const parsed = parseQuery(encodeQuery(7, 'relay.example.com', TYPE.AAAA, { payloadBytesMax: 1400 }));
  expect(parsed).toMatchObject({
    kind: 'query',
    type: TYPE.AAAA,
    class: CLASS_IN,
    ednsVersion: 0,
    payloadBytesMax: 1400,
    dnssecOk: false,
  });
});
