/** What is owed on pages: taken off one by one, owed once however often it is written, and known by its name again. */
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { PARTITIONS } from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';
import { createPages, readPageName } from './redis-pages.ts';

const [HOME] = PARTITIONS;
if (HOME === undefined) throw new Error('no partition');
const mailbox = createTestMailbox();
const referenceTo = (name: string): Reference => ({
  kind: 'message',
  mailbox: mailbox.tag,
  id: mailbox.message(name).id,
});
const [one, two] = [referenceTo('one'), referenceTo('two')];

test('a page is done when everything on it is settled towards every site, and not before', () => {
  const pages = createPages('relay');
  const page = pages.name(HOME, 5, ['gcp', 'aws']);
  pages.opened(page, [one, two]);
  expect(pages.settle(['aws'], one)).toEqual(['aws']);
  expect(pages.settle(['aws', 'gcp'], two)).toEqual(['aws', 'gcp']);
  expect(pages.done()).toEqual([]);
  expect(pages.debtTo('gcp')).toEqual({ count: 1, oldestMs: 5 });
  expect(pages.debtTo('aws')).toEqual({ count: 0, oldestMs: undefined });
  expect(pages.before(6)).toEqual([
    {
      page,
      owed: [
        { site: 'gcp', atMs: 5, references: [one] },
        { site: 'aws', atMs: 5, references: [] },
      ],
    },
  ]);
  expect(pages.settle(['aws', 'gcp'], one)).toEqual(['gcp']);
  expect(pages.done()).toEqual([page]);
  pages.closed([page]);
  expect([pages.done(), pages.before(6), pages.has(page)]).toEqual([[], [], false]);
});

test('what is on no page, or no more, is not owed there', () => {
  const pages = createPages('relay');
  expect(pages.settle(['gcp'], one)).toEqual([]);
  const page = pages.name(HOME, 5, ['gcp']);
  pages.opened(page, [one]);
  pages.closed([page]);
  expect(pages.settle(['gcp'], one)).toEqual([]);
  expect(pages.done()).toEqual([]);
});

test('what is owed anew is owed once, since then', () => {
  const pages = createPages('relay');
  const [first, second] = [pages.name(HOME, 5, ['gcp', 'aws']), pages.name(HOME, 7, ['gcp'])];
  pages.opened(first, [one]);
  pages.opened(second, [one]);
  expect(pages.debtTo('gcp')).toEqual({ count: 1, oldestMs: 7 });
  expect(pages.debtTo('aws')).toEqual({ count: 1, oldestMs: 5 });
  pages.settle(['gcp', 'aws'], one);
  expect(new Set(pages.done())).toEqual(new Set([first, second]));
});

test('a name says where, since when and to whom; what is none is not read', () => {
  const pages = createPages('relay');
  const page = pages.name(HOME, 1_764_000_000_123, ['gcp', 'aws']);
  expect(readPageName(HOME, page.field)).toEqual(page);
  expect(pages.name(HOME, 1_764_000_000_123, ['gcp', 'aws']).field).not.toBe(page.field);
  for (const field of ['', 'x', '12 relay 1 gcp', '0001764000000123 relay 1 ', '0001764000000123 relay 1']) {
    expect(readPageName(HOME, field)).toBeUndefined();
  }
});
