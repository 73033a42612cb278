/**
 * Reading what a relay says about the fleet.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isAudienceOf, parseInfo } from './fleet.ts';

const info = {
  protocol: 'relay.v1',
  site: 'aws',
  audience: 'https://aws.relay.example.com',
  sites: [{ name: 'aws', origin: 'https://aws.relay.example.com' }],
  bodyBytesMax: 65_536,
  ttlSecondsMax: 2_592_000,
  minting: 'open',
  timeMs: 1_790_000_000_000,
};

const parse = (value: unknown) => parseInfo(new TextEncoder().encode(JSON.stringify(value)));

test('a site whose provider is not named is a provider of its own', () => {
  expect(parse(info)).toEqual({
    sites: [{ origin: 'https://aws.relay.example.com', provider: 'aws' }],
    audience: 'https://aws.relay.example.com',
    bodyBytesMax: 65_536,
    timeMs: 1_790_000_000_000,
  });
});

test('two sites of one provider are known to be so', () => {
  const sites = ['a', 'b'].map((name) => ({ name, origin: `https://${name}.test`, provider: 'aws' }));
  expect(parse({ ...info, sites })?.sites.map(({ provider }) => provider)).toEqual(['aws', 'aws']);
});

test.each([
  ['no sites', { sites: [] }],
  ['too many sites', { sites: Array.from({ length: 17 }, () => info.sites[0]) }],
  ['an origin with a path', { sites: [{ name: 'aws', origin: 'https://aws.test/' }] }],
  ['an origin that is none', { sites: [{ name: 'aws', origin: 'aws' }] }],
  ['a limit that is not a number', { bodyBytesMax: '65536' }],
  ['no time', { timeMs: null }],
  ['no audience', { audience: undefined }],
])('%s is not information', (_name, change) => {
  expect(parse({ ...info, ...change })).toBeUndefined();
});

test('no answer makes the parser throw', () => {
  const hostile = fc.oneof(
    fc.uint8Array(),
    fc.json().map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(fc.property(hostile, (body) => void parseInfo(body)));
  fc.assert(fc.property(fc.jsonValue(), (sites) => void parse({ ...info, sites })));
});

test('only the site that was dialled, or a site below the canonical name, may ask for a token', () => {
  const zone = 'https://relay.example.com';
  expect(isAudienceOf(zone, zone)).toBe(true);
  expect(isAudienceOf(zone, 'https://aws.relay.example.com')).toBe(true);
  expect(isAudienceOf('https://relay.test:8443', 'https://aws.relay.test:8443')).toBe(true);
  for (const [dialled, audience] of [
    ['https://aws.relay.example.com', 'https://gcp.relay.example.com'],
    ['https://aws.relay.example.com', zone],
    [zone, 'https://a.b.relay.example.com'],
    [zone, 'https://relay.example.com.evil.test'],
    [zone, 'https://evilrelay.example.com'],
    [zone, 'http://aws.relay.example.com'],
    [zone, 'https://aws.relay.example.com:8443'],
    [zone, 'https://aws.relay.example.com/'],
    [zone, 'aws'],
  ] as const) {
    expect(isAudienceOf(dialled, audience)).toBe(false);
  }
});
