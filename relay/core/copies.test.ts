/** When a message counts as accepted. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { COPIES_NEEDED, canReachEnough, countCopies, wouldHaveMet } from './copies.ts';

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

test('whoever has asked so many meets what enough providers hold, and with fewer may not', () => {
  const provider = fc.constantFrom('aws', 'gcp', 'hetzner', 'ovh', 'scaleway');
  const fleet = fc.array(fc.record({ provider, isAsked: fc.boolean(), isHolder: fc.boolean() }), {
    maxLength: 8,
  });
  const providersOf = (sites: readonly { readonly provider: string }[]): number =>
    new Set(sites.map((site) => site.provider)).size;
  fc.assert(
    fc.property(fleet, fc.integer({ min: 1, max: 4 }), (sites, needed) => {
      const unasked = sites.filter(({ isAsked }) => !isAsked);
      const holders = sites.filter(({ isHolder }) => isHolder);
      if (!wouldHaveMet(unasked, needed)) {
        // They could be the holders, all of them and nobody else.
        expect(providersOf(unasked)).toBeGreaterThanOrEqual(needed);
      } else if (providersOf(holders) >= needed) expect(holders.some(({ isAsked }) => isAsked)).toBe(true);
    }),
  );
});

test('of three providers with two copies the own store and one other are enough, of two the own alone', () => {
  const [aws, , gcp] = SITES;
  const hetzner = { provider: 'hetzner' };
  if (aws === undefined || gcp === undefined) throw new Error('two sites');
  expect(wouldHaveMet([gcp, hetzner], COPIES_NEEDED)).toBe(false);
  expect(wouldHaveMet([hetzner], COPIES_NEEDED)).toBe(true);
  expect(wouldHaveMet([gcp], COPIES_NEEDED)).toBe(true);
  expect(wouldHaveMet([aws, aws], COPIES_NEEDED)).toBe(true);
});
