/** Messages: their record, which tells damage, and their id, which tells repetition. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TOMBSTONE_SLACK_MS } from './ack.ts';
import { mailboxIdOf, mailboxTagOf } from './mailbox.ts';
import {
  createMessage,
  FOREIGN_CLOCK_MS_MAX,
  type MessageFields,
  type MessageId,
  messageIdOf,
  openForeignMessage,
  openMessage,
  TTL_MS_MAX,
  topicTagOf,
  URGENCIES,
} from './message.ts';

const pepper = new Uint8Array(32).fill(9);
const tags = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((key) => mailboxTagOf(mailboxIdOf(key), pepper));
const ids = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('base64url') as MessageId);
const times = fc.maxSafeNat();
const ascii = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
});

const messages: fc.Arbitrary<MessageFields> = fc.record({
  id: ids,
  mailbox: tags,
  acceptedMs: times,
  expiresMs: times,
  commitment: ids,
  urgency: fc.constantFrom(...URGENCIES),
  topic: ascii,
  coding: ascii,
  body: fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
});

describe('the record', () => {
  test('opens to the message it was made of', () => {
    fc.assert(
      fc.property(messages, (fields) => {
        const message = createMessage(fields);
        expect(openMessage(message.record)).toEqual({ ok: true, value: message });
      }),
    );
  });

  test('with any one bit flipped is damaged', () => {
    const [message] = fc.sample(messages, { seed: 7, numRuns: 1 }).map(createMessage);
    if (message === undefined) throw new Error('no sample');
    for (let bit = 0; bit < message.record.length * 8; bit += 1) {
      const flipped = Buffer.from(message.record);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(openMessage(flipped)).toEqual({ ok: false, fault: 'damaged' });
    }
  });

  test('cut anywhere, or with something behind it, is damaged', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 20 }), (fields, at, more) => {
        const { record } = createMessage(fields);
        expect(openMessage(record.subarray(0, at % record.length)).ok).toBe(false);
        expect(openMessage(Buffer.concat([record, more])).ok).toBe(false);
      }),
    );
  });

  test('arbitrary bytes never throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void openMessage(bytes)));
  });
});

describe('a record that another site sent', () => {
  const limitMs = TTL_MS_MAX + FOREIGN_CLOCK_MS_MAX;

  test('is believed exactly when it lives no longer than any message may, by a clock that is a little off', () => {
    const around = fc.record({
      nowMs: fc.nat({ max: 2 ** 45 }),
      livesMs: fc.oneof(
        fc.integer({ min: -limitMs, max: 3 * limitMs }),
        fc.constantFrom(limitMs - 1, limitMs, limitMs + 1, 2 ** 52),
      ),
    });
    fc.assert(
      fc.property(messages, around, (fields, { nowMs, livesMs }) => {
        const expiresMs = Math.max(0, nowMs + livesMs);
        const message = createMessage({ ...fields, expiresMs });
        expect(openForeignMessage(message.record, nowMs)).toEqual(
          expiresMs <= nowMs + limitMs
            ? { ok: true, value: message }
            : { ok: false, fault: 'lives_too_long' },
        );
      }),
    );
  });

  test('is outlived by the tombstone of whoever buries it, however far ahead the clock of its site was', () => {
    expect(FOREIGN_CLOCK_MS_MAX).toBeLessThan(TOMBSTONE_SLACK_MS);
  });

  test('and is damaged is told apart from one that lives too long; arbitrary bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (bytes, nowMs) => {
        const opened = openForeignMessage(bytes, nowMs);
        expect(opened.ok || opened.fault).not.toBe('lives_too_long');
      }),
    );
  });
});

describe('the id', () => {
  const content = {
    capabilityId: Buffer.alloc(16, 1),
    idempotencyKey: undefined,
    coding: 'aes128gcm',
    body: Buffer.from('body'),
  };

  test('is the same for the same content through the same push URL', () => {
    expect(messageIdOf({ ...content, body: Buffer.from('body') })).toBe(messageIdOf(content));
    expect(messageIdOf(content)).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });

  test('depends on the push URL, the coding and the body', () => {
    const variants = [
      content,
      { ...content, capabilityId: Buffer.alloc(16, 2) },
      { ...content, coding: 'message/mls' },
      { ...content, body: Buffer.from('other') },
      { ...content, idempotencyKey: 'key' },
      { ...content, idempotencyKey: 'other' },
    ];
    expect(new Set(variants.map(messageIdOf)).size).toBe(variants.length);
  });

  test('depends on the idempotency key instead of the body, when there is one', () => {
    const keyed = { ...content, idempotencyKey: 'key' };
    expect(messageIdOf({ ...keyed, body: Buffer.from('other') })).toBe(messageIdOf(keyed));
  });
});

test('a topic is stored as a tag that says nothing outside its push URL', () => {
  const [one, other] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)];
  expect(topicTagOf('weather', one, pepper)).toBe(topicTagOf('weather', one, pepper));
  expect(topicTagOf('weather', one, pepper)).not.toBe(topicTagOf('weather', other, pepper));
  expect(topicTagOf('', one, pepper)).toBe('');
});
