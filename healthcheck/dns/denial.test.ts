/**
 * The canonical order of names, the gaps between them, and the table that finds them.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareNames, coveringOwner, nsecData, sortNames } from './denial.ts';
import { encodeName } from './name.ts';
import { createNameTable, findName } from './name-table.ts';

const anyName = fc
  .array(fc.stringMatching(/^[A-Za-z0-9_*-]{1,5}$/), { maxLength: 4 })
  .map((labels) => [...labels, 'example'].join('.'));

test('names are in the order of RFC 4034 §6.1', () => {
  const ordered = [
    'example',
    'a.example',
    'yljkjljk.a.example',
    'Z.a.example',
    'zABC.a.EXAMPLE',
    'z.example',
    '*.z.example',
  ];
  expect(sortNames(ordered.toReversed())).toStrictEqual(ordered);
});

const key = (name: string): string =>
  name
    .toLowerCase()
    .split('.')
    .toReversed()
    .map((label) => `${label}\u0000`)
    .join('');

test('the order is that of the reversed, lower-case labels', () => {
  fc.assert(
    fc.property(anyName, anyName, (a, b) => {
      const [wireA, wireB] = [encodeName(a), encodeName(b)];
      const order = compareNames(wireA, 0, wireA.length, wireB, 0, wireB.length);
      const [keyA, keyB] = [key(a), key(b)];
      expect(Math.sign(order)).toBe(keyA < keyB ? -1 : keyA > keyB ? 1 : 0);
    }),
  );
});

test('the covering owner is the last one that is not after a name', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyName, { selector: (name) => name.toLowerCase() }),
      anyName,
      (names, asked) => {
        const owners = sortNames([...new Set(['example', ...names])]).map((name) => encodeName(name));
        const wire = encodeName(asked);
        const found = coveringOwner(owners, wire, 0, wire.length);
        const isAfter = (owner: Uint8Array | undefined): boolean =>
          owner !== undefined && compareNames(owner, 0, owner.length, wire, 0, wire.length) > 0;
        expect(isAfter(owners[found])).toBe(false);
        if (found + 1 < owners.length) expect(isAfter(owners[found + 1])).toBe(true);
      },
    ),
  );
});

test('the bitmap is that of the example in RFC 4034 §4.3', () => {
  const data = nsecData(encodeName('host.example.com'), [1, 15, 46, 47, 1234]);
  const bitmap = `0006400100000003041b${'00'.repeat(26)}20`;
  expect(Buffer.from(data).toString('hex')).toBe(
    Buffer.from(encodeName('host.example.com')).toString('hex') + bitmap,
  );
});

test('the table finds its names in any case, and no others', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyName.map((name) => name.toLowerCase())), anyName, (names, asked) => {
      const table = createNameTable(names.map((name) => encodeName(name)));
      names.forEach((name, index) => {
        const wire = encodeName(name.toUpperCase());
        expect(findName(table, wire, 0, wire.length)).toBe(index);
      });
      const wire = encodeName(asked);
      expect(findName(table, wire, 0, wire.length)).toBe(names.indexOf(asked.toLowerCase()));
    }),
  );
});
