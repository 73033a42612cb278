/** When a message counts as accepted. */
import { expect, test } from 'vitest';
import { COPIES_NEEDED, canReachEnough, countCopies } from './copies.ts';

const SITES = [
  { name: 'aws', provider: 'aws' },
  { name: 'aws-2', provider: 'aws' },
  { name: 'gcp', provider: 'gcp' },
];

test('two sites at one provider count once', () => {
  const copies = countCopies(SITES, COPIES_NEEDED);
  expect(copies.confirm('aws')).toBe(false);
  expect(copies.confirm('aws-2')).toBe(false);
  expect(copies.confirm('gcp')).toBe(true);
  expect([...copies.holders]).toEqual(['aws', 'aws-2', 'gcp']);
});

test('a site that repeats itself holds one copy', () => {
  const copies = countCopies(SITES, COPIES_NEEDED);
  expect([copies.confirm('gcp'), copies.confirm('gcp')]).toEqual([false, false]);
});

test('a site that the manifest does not know holds none', () => {
  const copies = countCopies(SITES, COPIES_NEEDED);
  copies.confirm('gcp');
  expect(copies.confirm('stranger')).toBe(false);
  expect([...copies.holders]).toEqual(['gcp']);
});

test('a site alone cannot reach enough, nor with a neighbour at its own provider', () => {
  const [own, neighbour, other] = SITES;
  if (own === undefined || neighbour === undefined || other === undefined) throw new Error('three sites');
  expect(canReachEnough(own, [], 2)).toBe(false);
  expect(canReachEnough(own, [neighbour], 2)).toBe(false);
  expect(canReachEnough(own, [neighbour, other], 2)).toBe(true);
});
