/** What a sender may ask for, what of it goes out, and to whom a push URL may be shown. */
import { describe, expect, test } from 'vitest';
import type { Ciphertext } from './ciphertext.ts';
import { dnsOnlyFleet, type Fleet } from './fleet.ts';
import { createSendRequest, destinationsOf, parsePushUrl, type SendOptions } from './send-request.ts';

const content: Ciphertext = { coding: 'aes128gcm', body: Uint8Array.of(1, 2, 3) };

describe('a request', () => {
  test('carries what was asked for, and nothing that was not', () => {
    const options: SendOptions = { ttlSeconds: 60, urgency: 'high', topic: 'A-z_0', idempotencyKey: '!k~' };
    expect(createSendRequest('/p/x', content, options, 'vapid t=x').headers).toEqual({
      ttl: '60',
      urgency: 'high',
      topic: 'A-z_0',
      'idempotency-key': '!k~',
      authorization: 'vapid t=x',
      'content-type': 'application/octet-stream',
      'content-encoding': 'aes128gcm',
    });
    const mls = { ...content, coding: 'message/mls' };
    expect(createSendRequest('/p/x', mls, { ttlSeconds: 0 }).headers).toEqual({
      ttl: '0',
      'content-type': 'message/mls',
    });
  });

  test.each<[string, SendOptions, string?]>([
    ['a negative time', { ttlSeconds: -1 }],
    ['a fraction of a second', { ttlSeconds: 0.5 }],
    ['a long topic', { ttlSeconds: 1, topic: 'x'.repeat(33) }],
    ['an empty topic', { ttlSeconds: 1, topic: '' }],
    ['a topic of other letters', { ttlSeconds: 1, topic: 'a=' }],
    ['a long key', { ttlSeconds: 1, idempotencyKey: 'x'.repeat(65) }],
    ['an empty key', { ttlSeconds: 1, idempotencyKey: '' }],
    // A relay refuses it, and what a relay refuses is final.
    ['a key with a blank', { ttlSeconds: 1, idempotencyKey: 'a b' }],
    ['a coding with a line end', { ttlSeconds: 1 }, 'a\r\nb'],
  ])('is not made with %s', (_, options, coding = 'aes128gcm') => {
    expect(() => createSendRequest('/p/x', { ...content, coding }, options)).toThrow('options_out_of_range');
  });
});

test.each(['not a URL', 'https://user@relay.test/p/x', 'https://user:secret@relay.test/p/x'])(
  'a push URL is not %s',
  (url) => {
    expect(() => parsePushUrl(url)).toThrow('push_url_malformed');
  },
);

describe('a push URL is shown', () => {
  const sites = ['aws', 'gcp'].map((provider) => ({ origin: `https://${provider}.relay.test`, provider }));
  const fleet: Fleet = { canonicalOrigin: 'https://relay.test', sites };

  test("to the fleet's sites, and to its own origin last, when the fleet made it", () => {
    expect(destinationsOf('https://relay.test', fleet, sites).map(({ origin }) => origin)).toEqual([
      'https://aws.relay.test',
      'https://gcp.relay.test',
      'https://relay.test',
    ]);
  });

  test('to no origin twice, when it is that of a site', () => {
    expect(destinationsOf('https://gcp.relay.test', fleet, sites)).toEqual(sites);
  });

  test('to its own origin only, when somebody else made it', () => {
    const alone = [{ origin: 'https://push.example', provider: 'any' }];
    expect(destinationsOf('https://push.example', fleet, sites)).toEqual(alone);
    expect(destinationsOf('https://push.example', undefined, [])).toEqual(alone);
    expect(destinationsOf('https://push.example', dnsOnlyFleet('https://relay.test'), sites)).toEqual(alone);
  });
});
