/**
 * The order in which sites are asked.
 */
import { expect, test } from 'vitest';
import { seededRandom } from '../system/random.ts';
import type { Site } from './fleet.ts';
import { createRoster } from './roster.ts';

const [a, b, c]: readonly [Site, Site, Site] = [
  { origin: 'https://a', provider: 'aws' },
  { origin: 'https://b', provider: 'gcp' },
  { origin: 'https://c', provider: 'hetzner' },
];
const random = seededRandom(1);

test('the last good site is asked first', () => {
  const roster = createRoster([a, b, c], random, 'aws');
  roster.succeeded(b);
  expect(roster.order()[0]).toBe(b);
});

test('a site that failed is asked after those that did not, and those that failed longer ago', () => {
  const roster = createRoster([a, b, c], random, 'aws');
  roster.succeeded(a);
  roster.failed(a, 20);
  roster.failed(b, 10);
  expect(roster.order()).toEqual([c, b, a]);
});

test('a second site of a provider is asked after one of every other', () => {
  const a2 = { origin: 'https://a2', provider: 'aws' };
  const roster = createRoster([a, a2, b], random, 'aws');
  expect(roster.order().map(({ provider }) => provider)).toEqual(['aws', 'gcp', 'aws']);
});

test('without a preference the first site differs from client to client', () => {
  const firsts = new Set(Array.from({ length: 50 }, () => createRoster([a, b, c], random).order()[0]));
  expect(firsts.size).toBe(3);
});
