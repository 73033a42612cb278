/** The headers of a push request, case by case as docs/protocol.md has them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NOTHING } from './ciphertext.ts';
import { type HeaderValues, type PushLimits, parsePushRequest } from './push-request.ts';

const limits: PushLimits = {
  ttlSecondsMax: 2_592_000,
  ciphertextTypes: ['message/mls', 'application/x-sealed', 'application/octet-stream'],
};
const plain = { ttl: ['60'], 'content-encoding': ['aes128gcm'] };

function parsed(headers: HeaderValues): unknown {
  const request = parsePushRequest({ ...plain, ...headers }, limits);
  return request.ok ? request.value : request.fault;
}

test('without options a message is of normal urgency, without topic and key', () => {
  expect(parsed({})).toEqual({
    ttlSeconds: 60,
    urgency: 'normal',
    topic: '',
    idempotencyKey: undefined,
    coding: 'aes128gcm',
    authorization: undefined,
  });
});

describe('taken is', () => {
  test.each<[string, HeaderValues, object]>([
    ['a TTL of nothing', { ttl: ['0'] }, { ttlSeconds: 0 }],
    ['a TTL of the maximum', { ttl: ['2592000'] }, { ttlSeconds: 2_592_000 }],
    ['a longer TTL, shortened', { ttl: ['2592001'] }, { ttlSeconds: 2_592_000 }],
    ['a TTL of any number of digits, shortened', { ttl: ['9'.repeat(500)] }, { ttlSeconds: 2_592_000 }],
    ['a TTL with zeros before it', { ttl: [`${'0'.repeat(30)}60`] }, { ttlSeconds: 60 }],
    ['the least urgency', { urgency: ['very-low'] }, { urgency: 'very-low' }],
    ['an urgency in capitals, as RFC 5234 §2.3 has it', { urgency: ['High'] }, { urgency: 'high' }],
    ['a topic of 32 characters', { topic: ['A-z_0'.padEnd(32, 'x')] }, { topic: 'A-z_0'.padEnd(32, 'x') }],
    ['a key of 64 characters', { 'idempotency-key': ['!'.repeat(64)] }, { idempotencyKey: '!'.repeat(64) }],
    ['a coding in capitals', { 'content-encoding': ['AES128GCM'] }, { coding: 'aes128gcm' }],
    [
      'an allowed type of ciphertext with a parameter',
      { 'content-encoding': undefined, 'content-type': ['Message/MLS; version=1'] },
      { coding: 'message/mls' },
    ],
    [
      'any type under an encrypted coding',
      { 'content-type': ['application/octet-stream'] },
      { coding: 'aes128gcm' },
    ],
    ['nothing about the body', { 'content-encoding': undefined }, { coding: NOTHING }],
    [
      'a type that is not ciphertext, for a body of nothing',
      { 'content-encoding': undefined, 'content-type': ['text/plain'] },
      { coding: NOTHING },
    ],
    [
      'another allowed type with a key',
      {
        'content-encoding': undefined,
        'content-type': ['application/x-sealed'],
        'idempotency-key': ['1'],
      },
      { coding: 'application/x-sealed' },
    ],
    [
      'even the type that says nothing, where the operator allows it',
      {
        'content-encoding': undefined,
        'content-type': ['application/octet-stream'],
        'idempotency-key': ['1'],
      },
      { coding: 'application/octet-stream' },
    ],
    ['what has blanks around it', { ttl: [' 60 '], urgency: [' low '] }, { ttlSeconds: 60, urgency: 'low' }],
  ])('%s', (_, headers, expected) => {
    expect(parsed(headers)).toMatchObject(expected);
  });
});

describe('refused is', () => {
  test.each<[string, HeaderValues, string]>([
    ['no TTL', { ttl: undefined }, 'ttl_missing'],
    ['an empty TTL', { ttl: [''] }, 'ttl_malformed'],
    ['a negative TTL', { ttl: ['-1'] }, 'ttl_malformed'],
    ['a fraction', { ttl: ['1.5'] }, 'ttl_malformed'],
    ['a hexadecimal TTL', { ttl: ['0x10'] }, 'ttl_malformed'],
    ['two TTLs in one header', { ttl: ['5, 6'] }, 'ttl_malformed'],
    ['an urgency of its own', { urgency: ['urgent'] }, 'urgency_unknown'],
    ['a topic of 33 characters', { topic: ['x'.repeat(33)] }, 'topic_malformed'],
    ['an empty topic', { topic: [''] }, 'topic_malformed'],
    ['a topic with a blank', { topic: ['a b'] }, 'topic_malformed'],
    ['a key of 65 characters', { 'idempotency-key': ['x'.repeat(65)] }, 'idempotency_key_malformed'],
    ['an empty key', { 'idempotency-key': [''] }, 'idempotency_key_malformed'],
    ['a key beyond ASCII', { 'idempotency-key': ['ä'] }, 'idempotency_key_malformed'],
    ['the older coding', { 'content-encoding': ['aesgcm'] }, 'not_encrypted'],
    ['no coding', { 'content-encoding': ['identity'] }, 'not_encrypted'],
    [
      'a type that does not tell messages apart, without a key',
      { 'content-encoding': undefined, 'content-type': ['application/x-sealed'] },
      'idempotency_key_missing',
    ],
    [
      'an allowed type under a coding that does not encrypt',
      { 'content-encoding': ['gzip'], 'content-type': ['message/mls'] },
      'not_encrypted',
    ],
  ])('%s', (_, headers, code) => {
    expect(parsed(headers)).toBe(code);
  });

  test.each([
    'ttl',
    'urgency',
    'topic',
    'idempotency-key',
    'content-encoding',
    'content-type',
    'authorization',
  ])('%s given twice, even with the same value', (name) => {
    const value = { ttl: '60', urgency: 'low', 'content-encoding': 'aes128gcm' }[name] ?? 'x';
    expect(parsed({ [name]: [value, value] })).toBe('header_repeated');
  });
});

test('arbitrary values are refused by name or taken, and never throw', () => {
  const values = fc.option(fc.array(fc.string({ unit: 'binary' }), { maxLength: 2 }), { nil: undefined });
  const headers = fc.record({
    ttl: values,
    urgency: values,
    topic: values,
    'idempotency-key': values,
    'content-encoding': values,
    'content-type': values,
  });
  fc.assert(fc.property(headers, (given) => void parsed(given)));
});
