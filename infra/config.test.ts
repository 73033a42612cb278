/** What the stack's configuration may say, and how it is told what is wrong. */
import { expect, test } from 'vitest';
import { parseSites } from './config.ts';

test('a stack with one site', () => {
  const parsed = parseSites([{ name: 'hetzner', provider: 'hetzner', location: 'fsn1' }]);
  expect(parsed).toEqual({ ok: true, value: [{ name: 'hetzner', provider: 'hetzner', location: 'fsn1' }] });
});

test.each([
  [undefined, 'archipelago:sites: expected a list'],
  [[], 'archipelago:sites: expected a list'],
  [[{ name: 'AWS', provider: 'aws', location: 'eu-central-1' }], 'archipelago:sites[0].name: expected'],
  [
    [{ name: 'a', provider: 'azure', location: 'x1' }],
    'archipelago:sites[0].provider: expected aws, gcp, hetzner',
  ],
  [[{ name: 'a', provider: 'aws' }], 'archipelago:sites[0].location: expected'],
  [
    [{ name: 'a', provider: 'aws', location: 'eu-1', regoin: 'x' }],
    'archipelago:sites[0].regoin: no such field',
  ],
])('%j is refused with its path and a command that mends it', (value, start) => {
  const parsed = parseSites(value);
  expect(parsed.ok).toBe(false);
  if (parsed.ok) return;
  expect(parsed.fault[0]).toContain(start);
  expect(parsed.fault[0]).toContain('pulumi config ');
});

test('every fault is told at once', () => {
  const parsed = parseSites([{ name: '' }, { name: 'b', provider: 'x' }]);
  expect(parsed.ok ? [] : parsed.fault).toHaveLength(2);
});

test('two sites of one name are refused', () => {
  const site = { name: 'aws', provider: 'aws', location: 'eu-central-1' };
  const parsed = parseSites([site, site]);
  expect(parsed.ok ? [] : parsed.fault).toEqual([expect.stringContaining('"aws" is used twice')]);
});
