/** Frames between relays: what is written is what is read, and bytes from a peer can do no harm. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SLICES } from './digest.ts';
import { mailboxIdOf, mailboxTagOf, PARTITIONS } from './mailbox.ts';
import {
  encodePeerFrame,
  HEADER_BYTES,
  type OfferedRecord,
  type PeerReply,
  type PeerRequest,
  parsePeerFrame,
} from './peer-frame.ts';
import type { Reference } from './reference.ts';

const bytes = fc.uint8Array({ maxLength: 300 }).map((given) => Buffer.from(given));
const site = fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/);
const tag = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((key) => mailboxTagOf(mailboxIdOf(key), new Uint8Array(32)));
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const references: fc.Arbitrary<Reference[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('message', 'ack'),
    mailbox: tag,
    id: fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .map((given) => Buffer.from(given).toString('base64url')),
  }),
  { maxLength: 20 },
);
const records: fc.Arbitrary<OfferedRecord[]> = fc.array(
  fc.record({ record: bytes, holders: fc.array(site, { maxLength: 16 }) }),
  { maxLength: 10 },
);
const cursor = fc.stringMatching(/^[\x20-\x7e]{0,255}$/);

const requests: readonly fc.Arbitrary<PeerRequest>[] = [
  fc.record({ type: fc.constant('put'), records }),
  fc.record({ type: fc.constant('bury'), records }),
  fc.record({
    type: fc.constant('held'),
    sites: fc.array(site, { minLength: 1, maxLength: 15 }),
    references,
  }),
  fc.record({
    type: fc.constant('list'),
    partition: fc.constantFrom(...PARTITIONS),
    cursor,
    slices: u64,
    fromMs: fc.maxSafeNat(),
  }),
  fc.record({ type: fc.constant('pull'), references }),
  fc.record({
    type: fc.constant('buried'),
    references: references
      .filter((some) => some.length > 0)
      .map((some) => some.map((reference) => ({ ...reference, kind: 'message' as const }))),
  }),
  fc.record({ type: fc.constant('totals'), fromMs: fc.maxSafeNat() }),
  fc.record({
    type: fc.constant('digests'),
    fromMs: fc.maxSafeNat(),
    partitions: fc.array(fc.constantFrom(...PARTITIONS), { maxLength: 32 }),
  }),
  fc.record({ type: fc.constant('waiting'), mailbox: tag }),
  fc.constant({ type: 'ping' }),
];
const replies: readonly fc.Arbitrary<PeerReply>[] = [
  fc.record({
    type: fc.constant('outcomes'),
    outcomes: fc.array(fc.constantFrom('stored', 'duplicate', 'buried', 'expired', 'not_kept')),
  }),
  fc.constant({ type: 'done' }),
  fc.record({
    type: fc.constant('page'),
    cursor,
    references: references.map((some) => some.map((reference, index) => ({ ...reference, untilMs: index }))),
  }),
  fc.record({
    type: fc.constant('totalled'),
    totals: fc.array(fc.option(u64, { nil: undefined }), { maxLength: 256 }),
  }),
  fc.record({
    type: fc.constant('digested'),
    digests: fc.array(
      fc.option(fc.array(u64, { minLength: SLICES, maxLength: SLICES }), { nil: undefined }),
      { maxLength: 4 },
    ),
  }),
  fc.record({
    type: fc.constant('records'),
    served: fc.nat(65_535),
    messages: fc.array(bytes),
    acks: fc.array(bytes),
  }),
  fc.record({ type: fc.constant('tombstones'), served: fc.nat(65_535), acks: fc.array(bytes) }),
  fc.record({ type: fc.constant('pong'), wallMs: fc.maxSafeNat() }),
  fc.record({
    type: fc.constant('refused'),
    reason: fc.constantFrom('store_unavailable', 'bad_signature', 'malformed', 'overloaded'),
  }),
];
const bodies: fc.Arbitrary<PeerRequest | PeerReply> = fc.oneof(...requests, ...replies);
const calls = fc.nat(0xffff_ffff);

/** What the other side parses: everything behind the length. */
function sent(call: number, body: PeerRequest | PeerReply): Buffer {
  return encodePeerFrame(call, body).subarray(4);
}

const each: readonly fc.Arbitrary<PeerRequest | PeerReply>[] = [...requests, ...replies];

test.each(each.map((arbitrary) => [fc.sample(arbitrary, 1)[0]?.type, arbitrary] as const))(
  '%s is read as it was written',
  (_, arbitrary) => {
    fc.assert(
      fc.property(calls, arbitrary, (call, body) => {
        const frame = encodePeerFrame(call, body);
        expect(frame.readUInt32BE(0)).toBe(frame.length - 4);
        expect(frame.length).toBeGreaterThanOrEqual(HEADER_BYTES);
        expect(parsePeerFrame(frame.subarray(4))).toEqual({ ok: true, value: { call, body } });
      }),
    );
  },
);

describe('malformed is', () => {
  test('a frame that was cut, or that has something behind it', () => {
    fc.assert(
      fc.property(calls, bodies, fc.nat(), (call, body, at) => {
        const frame = sent(call, body);
        expect(parsePeerFrame(frame.subarray(0, at % frame.length)).ok).toBe(false);
        expect(parsePeerFrame(Buffer.concat([frame, Buffer.of(0)])).ok).toBe(false);
      }),
    );
  });

  test.each([
    ['more records than there are', 1],
    ['more records than any frame may have', 4097],
    ['as many as a count can say', 65_535],
  ])('a put that claims %s', (_, count) => {
    const frame = Buffer.from(sent(7, { type: 'put', records: [] }));
    frame.writeUInt16BE(count, 5);
    expect(parsePeerFrame(frame)).toEqual({ ok: false, fault: 'malformed' });
  });

  test('a record that claims to be longer than the frame', () => {
    const frame = sent(7, { type: 'put', records: [{ record: Buffer.from('abc'), holders: [] }] });
    frame.writeUInt32BE(0xffff_ffff, frame.length - 7);
    expect(parsePeerFrame(frame).ok).toBe(false);
  });

  test.each([
    ['an outcome', { type: 'outcomes', outcomes: ['stored'] } as const, -1],
    ['a refusal', { type: 'refused', reason: 'overloaded' } as const, -1],
    ['a type', { type: 'ping' } as const, 0],
  ])('%s that does not exist', (_, body, at) => {
    const frame = sent(7, body);
    frame.writeUInt8(99, (at + frame.length) % frame.length);
    expect(parsePeerFrame(frame).ok).toBe(false);
  });

  test('a partition that does not exist', () => {
    const partition = '0a' as (typeof PARTITIONS)[number];
    const frame = sent(7, { type: 'list', partition, cursor: '', slices: 1n, fromMs: 0 });
    frame.write('0A', 6);
    expect(parsePeerFrame(frame).ok).toBe(false);
  });
});

test('arbitrary bytes of every type never throw', () => {
  fc.assert(
    fc.property(fc.nat(255), fc.uint8Array({ maxLength: 400 }), (type, payload) => {
      parsePeerFrame(payload);
      parsePeerFrame(Buffer.concat([Buffer.of(type, 0, 0, 0, 1), payload]));
    }),
  );
});

test('a good frame with any one byte changed never throws', () => {
  fc.assert(
    fc.property(bodies, fc.nat(), fc.nat(255), (body, at, value) => {
      const frame = sent(7, body);
      frame.writeUInt8(value, at % frame.length);
      parsePeerFrame(frame);
    }),
  );
});

test('the question for acks is a pull of a third kind, which an older release takes for a pull of acks', () => {
  const [reference] = fc.sample(references, 100).find((some) => some.length > 0) ?? [];
  if (reference === undefined) throw new Error('no reference');
  const asked = { ...reference, kind: 'message' } as const;
  const question = sent(7, { type: 'buried', references: [asked] });
  const pull = sent(7, { type: 'pull', references: [asked] });
  // Type and call, then a count, then the kind of the first.
  expect([question[0], question[7], pull[7]]).toEqual([pull[0], 2, 0]);
  question[7] = 0;
  expect(question).toEqual(pull);
  const mixed = sent(7, { type: 'buried', references: [asked, asked] });
  mixed[7] = 1;
  expect(parsePeerFrame(mixed).ok).toBe(false);
});

test('a notice speaks of fifteen sites at most, so that a short one cannot settle a thousand things each', () => {
  const sites = Array.from({ length: 100 }, (_, place) => String.fromCharCode(97 + (place % 26)));
  const read = parsePeerFrame(sent(7, { type: 'held', sites, references: [] }));
  expect(read.ok && read.value.body).toEqual({ type: 'held', sites: sites.slice(0, 15), references: [] });
});
