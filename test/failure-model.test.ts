/**
 * The failure model claims nothing that is not shown: every fault that is said to be survived names a drill of the
 * catalogue or a test that exists, and every fault of the catalogue is in both documents.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { FAULT_NAMES, type FaultName, faultNamed } from '../fleet/drill/faults/catalogue.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

/** The cells of the rows of every table below a heading, without the heads. */
function rowsBelow(document: string, heading: string): readonly (readonly string[])[] {
  const [, section = ''] = read(document).split(`\n## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const namesIn = (cell: string): readonly string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
const isShown = (name: string): boolean =>
  FAULT_NAMES.includes(name as FaultName) || (name.endsWith('.test.ts') && existsSync(join(ROOT, name)));

test('every fault that is survived names what shows it', () => {
  const survived = rowsBelow('docs/failure-model.md', 'Survived');
  expect(survived.length).toBeGreaterThan(10);
  const unshown = survived.filter((cells) => {
    const names = namesIn(cells.at(-1) ?? '');
    return names.length === 0 || !names.every(isShown);
  });
  expect(unshown, 'name a drill or the path of a test in the last column').toEqual([]);
});

test('whatever a Redis may do names the test that shows it', () => {
  const files = new Set(
    ['relay', 'test/contract', 'test/integration'].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) => basename(path)),
    ),
  );
  const rows = rowsBelow('docs/failure-model.md', 'What a relay does when its Redis …');
  expect(rows.length).toBeGreaterThan(10);
  const unshown = rows.filter((cells) => {
    const names = namesIn(cells.at(-1) ?? '');
    return names.length === 0 || !names.every((name) => files.has(name));
  });
  expect(unshown, 'name a test that exists in the last column').toEqual([]);
});

test('every fault of the catalogue, but the control run, is in the failure model', () => {
  const named = rowsBelow('docs/failure-model.md', 'Survived').flatMap((cells) =>
    namesIn(cells.at(-1) ?? ''),
  );
  expect(FAULT_NAMES.filter((name) => name !== 'none' && !named.includes(name))).toEqual([]);
});

test('docs/drills.md lists every fault of the catalogue as it is, and no other', () => {
  const listed = rowsBelow('docs/drills.md', 'The catalogue').map(([name, what, needs, lasts]) => ({
    name,
    what,
    needs,
    lasts,
  }));
  const known = FAULT_NAMES.map((name) => {
    const { needs, seconds, what } = faultNamed(name);
    return { name: `\`${name}\``, what, needs: needs.join(', '), lasts: `${seconds} s` };
  });
  expect(listed).toEqual(known);
});
