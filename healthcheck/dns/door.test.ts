/**
 * The door as a whole: cookies and budgets together, NSID, record types of the operators, and how little a forger
 * gains.
 */
import { createPrivateKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeZoneKeys } from '../../fleet/zone-keys.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { answerWithAll } from '../core/failover.ts';
import { zoneFrom } from '../core/zone.ts';
import { type CompiledZone, compileZone } from './compile.ts';
import { createDoor, type Door, type Reply } from './door.ts';
import { encodeQuery, parseResponse, type Response, TYPE } from './message.ts';
import { createRateLimit, SHARE_BYTES } from './rate-limit.ts';
import { signBytesWith } from './signature.ts';
import { createSigner } from './signer.ts';
import { createTransfers } from './transfer.ts';

const manifest = {
  ...testManifest(['aws', 'gcp', 'hetzner'], { ipv6: true }),
  records: [
    {
      name: '',
      type: 'CAA',
      ttlSeconds: 3600,
      data: ['0 issue "ca.example"', '0 iodef "mailto:a@b.example"'],
    },
    { name: '', type: 'HTTPS', ttlSeconds: 3600, data: ['1 . alpn=http/1.1'] },
    { name: '_dmarc.mail', type: 'TXT', ttlSeconds: 60, data: ['v=DMARC1; p=reject'] },
    { name: 'x', type: 'TYPE65280', ttlSeconds: 60, data: ['\\# 3 0a0b0c'] },
  ],
};
const zone = compileZone(
  zoneFrom({ manifest, self: 'aws', answer: answerWithAll(manifest, 9), ttlSeconds: 6 }),
  undefined,
);
const CLIENT_COOKIE = [1, 2, 3, 4, 5, 6, 7, 8];

function doorWith(responsesPerSecond: number, served: CompiledZone = zone): Door {
  return createDoor({
    zone: () => served,
    secrets: () => [new Uint8Array(16).fill(9)],
    rateLimit: createRateLimit({ responsesPerSecond, seed: 1 }),
    transfers: createTransfers({ keys: [], zone: () => undefined }),
    serverId: Buffer.from('aws'),
    firstTurn: 0,
  });
}

const out = new Uint8Array(65_535);
const arrival = {
  transport: 'udp',
  source: Uint8Array.of(192, 0, 2, 1),
  nowMs: 1000,
  wallSeconds: 5000,
} as const;

function send(
  door: Door,
  packet: Uint8Array,
  over: Partial<Parameters<Door>[1]> = {},
): { reply: Reply; bytes: Uint8Array } {
  const reply = door(packet, { ...arrival, ...over }, out);
  return { reply, bytes: out.slice(0, reply.kind === 'reply' ? reply.length : 0) };
}

function query(name: string, type: number, options: number[] = []): Uint8Array {
  return encodeQuery(7, name, type, { payloadBytesMax: 1232, options: Uint8Array.from(options) });
}

const cookieOption = (cookie: readonly number[]): number[] => [0, 10, 0, cookie.length, ...cookie];

function ask(name: string, type: number): Response {
  const response = parseResponse(send(doorWith(1000), query(name, type)).bytes);
  if (response === undefined) throw new Error('malformed');
  return response;
}

describe('records of the operators', () => {
  test.each([
    ['relay.example.com', TYPE.CAA, 2],
    ['relay.example.com', TYPE.HTTPS, 1],
    ['_dmarc.mail.relay.example.com', TYPE.TXT, 1],
    ['x.relay.example.com', 65_280, 1],
  ])('%s has type %i', (name, type, count) => {
    expect(ask(name, type)).toMatchObject({ rcode: 0, authoritative: true });
    expect(ask(name, type).answers).toHaveLength(count);
  });

  test('a name that only has names below it exists, and one beside it does not', () => {
    expect(ask('mail.relay.example.com', TYPE.A)).toMatchObject({ rcode: 0, answers: [] });
    expect(ask('mail.relay.example.com', TYPE.A).authorities).toMatchObject([{ type: 'SOA' }]);
    expect(ask('nail.relay.example.com', TYPE.A).rcode).toBe(3);
  });

  test('types that are no data are refused by name', () => {
    expect([41, 250, 249, 253, 254, 200].map((type) => ask('relay.example.com', type).rcode)).toStrictEqual([
      1, 1, 1, 4, 4, 5,
    ]);
  });
});

const withCookie = (cookie: readonly number[]): Uint8Array =>
  query('relay.example.com', TYPE.A, cookieOption(cookie));

/** The cookie in a reply, which ends with it. */
const cookieIn = (bytes: Uint8Array): number[] => [...bytes.subarray(-24)];

describe('cookies', () => {
  test('a client cookie is answered with a server cookie, which stays good', () => {
    const door = doorWith(1000);
    const first = cookieIn(send(door, withCookie(CLIENT_COOKIE)).bytes);
    expect(first.slice(0, 8)).toStrictEqual(CLIENT_COOKIE);
    expect(cookieIn(send(door, withCookie(first)).bytes)).toStrictEqual(first);
  });

  test('whoever shows a cookie of ours has no budget; who cannot is told BADCOOKIE over it', () => {
    const door = doorWith(1);
    const first = cookieIn(send(door, withCookie(CLIENT_COOKIE)).bytes);
    for (let index = 0; index < 10; index += 1) {
      expect(send(door, withCookie(first)).reply).toMatchObject({ rcode: 'NOERROR' });
    }
    expect(send(door, withCookie(CLIENT_COOKIE)).reply).toMatchObject({ rcode: 'BADCOOKIE' });
    expect(send(door, withCookie(CLIENT_COOKIE)).reply).toStrictEqual({
      kind: 'discarded',
      reason: 'over_budget',
    });
    const elsewhere = send(door, withCookie(first), { source: Uint8Array.of(192, 0, 2, 2) });
    expect(elsewhere.reply).toMatchObject({ rcode: 'BADCOOKIE' });
    const bytes = send(door, withCookie(first), { transport: 'tcp', source: Uint8Array.of(192, 0, 2, 2) });
    expect(bytes.reply).toMatchObject({ rcode: 'NOERROR' });
  });

  test('a query for a cookie alone gets it', () => {
    const whole = withCookie(CLIENT_COOKIE);
    const header = Uint8Array.from(whole.subarray(0, 12));
    header[5] = 0;
    const opt = whole.subarray(-23);
    const { reply, bytes } = send(doorWith(1), Uint8Array.from([...header, ...opt]));
    expect(reply).toMatchObject({ rcode: 'NOERROR' });
    expect(cookieIn(bytes).slice(0, 8)).toStrictEqual(CLIENT_COOKIE);
  });

  test.each([1, 7, 9, 15, 41])('a cookie of %i bytes is malformed', (length) => {
    const packet = withCookie(Array.from({ length }, () => 1));
    expect(send(doorWith(1), packet).reply).toMatchObject({ rcode: 'FORMERR' });
  });
});

test('NSID says which site answers, and only to who asks', () => {
  const asked = send(doorWith(1), query('relay.example.com', TYPE.A, [0, 3, 0, 0])).bytes;
  expect([...asked.subarray(-7)]).toStrictEqual([0, 3, 0, 3, ...Buffer.from('aws')]);
  const unasked = send(doorWith(1), query('relay.example.com', TYPE.A)).bytes;
  expect(unasked.length).toBe(asked.length - 7);
});

test('over its budget a network is told to come over TCP, or nothing; TCP has no budget', () => {
  const door = doorWith(1);
  const packet = encodeQuery(7, 'relay.example.com', TYPE.A);
  expect(parseResponse(send(door, packet).bytes)).toMatchObject({ truncated: false });
  expect(parseResponse(send(door, packet).bytes)).toMatchObject({ truncated: true, answers: [] });
  expect(send(door, packet).reply).toStrictEqual({ kind: 'discarded', reason: 'over_budget' });
  for (let index = 0; index < 10; index += 1) {
    expect(parseResponse(send(door, packet, { transport: 'tcp' }).bytes)).toMatchObject({ truncated: false });
  }
});

function additionals(transport: 'udp' | 'tcp'): number {
  const { bytes } = send(doorWith(1000), query('relay.example.com', TYPE.NS), { transport });
  return parseResponse(bytes)?.additionals.length ?? 0;
}

test('additional records are for those who are where they say they are', () => {
  expect(additionals('udp')).toBe(0);
  expect(additionals('tcp')).toBe(3);
});

const keys = makeZoneKeys('relay.example.com', ['aws', 'gcp', 'hetzner'], Date.now());
const keyPem = keys.keyPem.get('aws') ?? '';
const signer = createSigner({
  zone: 'relay.example.com',
  keyTag: 1,
  signBytes: signBytesWith(createPrivateKey(keyPem)),
  wallSeconds: () => 1_800_000_000,
});
const signedZone = compileZone(
  zoneFrom({
    manifest: { ...manifest, zoneKeys: keys.zoneKeys },
    self: 'aws',
    answer: answerWithAll(manifest, 9),
    ttlSeconds: 6,
  }),
  signer.sign,
);

/** Bytes received for each byte sent, without IP and UDP headers. */
function amplification(name: string, type: number, served: typeof zone, dnssecOk: boolean): number {
  const packet = encodeQuery(7, name, type, { payloadBytesMax: 65_535, dnssecOk });
  const { bytes } = send(doorWith(1, served), packet);
  return bytes.length / packet.length;
}

test('a forger gains little: over its budget a network gets less than was sent in its name', () => {
  for (const served of [zone, signedZone]) {
    const door = doorWith(100, served);
    const types = [TYPE.A, TYPE.AAAA, TYPE.NS, TYPE.SOA, TYPE.CAA, TYPE.ANY, TYPE.TXT];
    let sent = 0;
    let received = 0;
    for (let index = 0; index < 10_000; index += 1) {
      const type = types[index % types.length] ?? TYPE.A;
      const packet = encodeQuery(7, 'relay.example.com', type, { payloadBytesMax: 1232, dnssecOk: true });
      sent += packet.length;
      received += send(door, packet).bytes.length;
    }
    expect(received).toBeLessThan(0.6 * sent);
  }
});

test('whatever is asked for, a network gets no more bytes in its name than so many small answers have', () => {
  const asked: readonly (readonly [string, number])[] = [
    ['relay.example.com', TYPE.A],
    ['relay.example.com', TYPE.DNSKEY],
    ['relay.example.com', TYPE.HTTPS],
    ['relay.example.com', TYPE.TXT],
    ['nobody.relay.example.com', TYPE.A],
  ];
  for (const [name, type] of asked) {
    const door = doorWith(100, signedZone);
    const packet = encodeQuery(7, name, type, { payloadBytesMax: 65_535, dnssecOk: true });
    let answered = 0;
    for (let index = 0; index < 1000; index += 1) {
      const { bytes } = send(door, packet);
      if (parseResponse(bytes)?.truncated === false) answered += bytes.length;
    }
    expect(answered).toBeGreaterThan(10_000);
    // The last one may exceed what is left.
    expect(answered).toBeLessThan(100 * SHARE_BYTES + 1232);
  }
});

test('and within the budget no answer is more than a dozen times its question', () => {
  const types = [TYPE.A, TYPE.AAAA, TYPE.NS, TYPE.SOA, TYPE.CAA, TYPE.ANY, TYPE.TXT, TYPE.DNSKEY, TYPE.RRSIG];
  const apex = (served: typeof zone, dnssecOk: boolean): number =>
    Math.max(...types.map((type) => amplification('relay.example.com', type, served, dnssecOk)));
  expect(apex(zone, false)).toBeLessThan(3.5);
  expect(apex(signedZone, true)).toBeLessThan(12);
  expect(amplification('nobody.relay.example.com', TYPE.A, signedZone, true)).toBeLessThan(12);
});

/** Bytes that count how often they are read. */
function counted(bytes: Uint8Array): { readonly packet: Uint8Array; readonly reads: () => number } {
  let reads = 0;
  const packet = new Proxy(bytes, {
    get: (target, property) => {
      reads += 1;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { packet, reads: () => reads };
}

test('no packet costs more than its length explains', () => {
  const door = doorWith(1000, signedZone);
  const labels = fc.array(fc.constantFrom(1, 2, 63), { minLength: 1, maxLength: 120 });
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 512 }),
    fc
      .uint8Array({ maxLength: 400 })
      .map((bytes) => Uint8Array.from([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...bytes])),
    labels.map((lengths) => {
      const name = lengths.flatMap((length) => [length, ...Array.from({ length }, () => 97)]).slice(0, 220);
      const apex = query('relay.example.com', TYPE.A).subarray(12);
      return Uint8Array.from([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...name, ...apex]);
    }),
    fc
      .tuple(fc.constantFrom(TYPE.A, TYPE.NS, TYPE.ANY), fc.array(fc.nat({ max: 255 }), { maxLength: 60 }))
      .map(([type, options]) => query('nobody.relay.example.com', type, options)),
  );
  fc.assert(
    fc.property(hostile, (bytes) => {
      const { packet, reads } = counted(bytes);
      const reply = door(packet, { ...arrival, transport: 'tcp' }, out);
      expect(reads()).toBeLessThan(40 * bytes.length + 200);
      if (reply.kind === 'reply') expect(parseResponse(out.subarray(0, reply.length))).toBeDefined();
    }),
    { numRuns: 2000 },
  );
});
