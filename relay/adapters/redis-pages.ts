/**
 * What one relay has written and other sites have not confirmed yet, page by page.
 *
 * The debts of a whole script are one field of a hash, its page, and not an entry for each message and site: nearly all
 * of them are confirmed within a moment, and then one command takes a page away. What is not confirmed in time is
 * moved into the outboxes of its partitions (`redis-outbox.ts`). A page that no relay remembers is found by looking.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Partition } from '../core/mailbox.ts';
import type { Reference } from '../core/reference.ts';
import type { Debt } from '../ports.ts';

/** Where a page is, and what it says of all its members. */
export interface PageName {
  /** The partition whose slot it is in. */
  readonly home: Partition;
  /** Its name in the hash: time, relay, number and sites. */
  readonly field: string;
  /** Wall clock of the relay that wrote it, milliseconds. */
  readonly atMs: number;
  readonly sites: readonly SiteName[];
}

/** What is owed to one site. */
export interface Owed {
  readonly site: SiteName;
  readonly atMs: number;
  readonly references: readonly Reference[];
}

export interface Pages {
  /** A name that nothing else has. */
  name(home: Partition, atMs: number, sites: readonly SiteName[]): PageName;
  /** A page was written, with these on it. */
  opened(page: PageName, references: readonly Reference[]): void;
  /** Takes it off its page for each of these sites; gives those to which a page owed it. */
  settle(sites: readonly SiteName[], reference: Reference): readonly SiteName[];
  /** Pages with nothing left on them. */
  done(): readonly PageName[];
  /** Pages from before `beforeMs`, and what is left on them. */
  before(beforeMs: number): readonly { readonly page: PageName; readonly owed: readonly Owed[] }[];
  /** They are in the store no more. */
  closed(pages: readonly PageName[]): void;
  has(page: PageName): boolean;
  /** What is owed to a site, as far as it is on these pages. */
  debtTo(site: SiteName): Debt;
}

const TIME_DIGITS = 16;

interface Page {
  readonly name: PageName;
  readonly entries: Entry[];
  /** Debts on it: each entry has one for each site. */
  left: number;
}

/** One thing on a page. There are many, so it is small. */
interface Entry {
  readonly page: Page;
  readonly reference: Reference;
  /** A bit for each site of the page that is owed it still, by the place of the site. */
  owedTo: number;
  /** The same thing on an earlier page; rare. */
  readonly earlier: Entry | undefined;
}

/** None at first. `origin` names this relay and has no blank. */
export function createPages(origin: string): Pages {
  const pages = new Map<string, Page>();
  const entries = new Map<string, Entry>();
  const done = new Set<Page>();
  let count = 0;

  const pay = (entry: Entry, bits: number): void => {
    for (let paid = entry.owedTo & bits; paid !== 0; paid &= paid - 1) entry.page.left -= 1;
    entry.owedTo &= ~bits;
    if (entry.page.left === 0) done.add(entry.page);
  };
  /** On every page it is on; false when it is on none, or not for this site. */
  const payFor = (site: SiteName, newest: Entry): boolean => {
    let isFound = false;
    for (let entry: Entry | undefined = newest; entry !== undefined; entry = entry.earlier) {
      const bit = bitOf(site, entry.page);
      if ((entry.owedTo & bit) === 0) continue;
      pay(entry, bit);
      isFound = true;
    }
    return isFound;
  };
  /** Takes it off the page, or the pages, on which it is owed to these sites; gives those to which it was. */
  const takeOff = (sites: readonly SiteName[], key: string): readonly SiteName[] => {
    const newest = entries.get(key);
    if (newest === undefined) return [];
    const owedTo = sites.filter((site) => payFor(site, newest));
    if (owedStill(newest) === undefined) entries.delete(key);
    return owedTo;
  };
  /** It is owed on its page no more; on others it may be. */
  const close = (entry: Entry): void => {
    if (entry.owedTo === 0) return;
    pay(entry, entry.owedTo);
    const key = keyOf(entry.reference);
    if (owedStill(entries.get(key)) === undefined) entries.delete(key);
  };

  return {
    name: (home, atMs, sites) => {
      count += 1;
      const field = [digitsOf(atMs), origin, count.toString(36), sites.join(',')].join(' ');
      return { home, field, atMs, sites };
    },
    opened: (name, references) => {
      const page: Page = { name, entries: [], left: name.sites.length * references.length };
      const owedTo = 2 ** name.sites.length - 1;
      pages.set(name.field, page);
      for (const reference of references) {
        const key = keyOf(reference);
        // It is owed anew, and once.
        takeOff(name.sites, key);
        const entry = { page, reference, owedTo, earlier: entries.get(key) };
        entries.set(key, entry);
        page.entries.push(entry);
      }
    },
    settle: (sites, reference) => takeOff(sites, keyOf(reference)),
    done: () => [...done].map(({ name }) => name),
    before: (beforeMs) => [...pages.values()].filter(({ name }) => name.atMs < beforeMs).map(leftOn),
    closed: (names) => {
      for (const { field } of names) {
        const page = pages.get(field);
        if (page === undefined) continue;
        for (const entry of page.entries) close(entry);
        done.delete(page);
        pages.delete(field);
      }
    },
    has: ({ field }) => pages.has(field),
    debtTo: (site) =>
      [...pages.values()]
        .map((page) => debtOn(page, site))
        .reduce(addDebts, { count: 0, oldestMs: undefined }),
  };
}

/** The same thing on the newest of its pages on which it is owed to anybody. */
function owedStill(newest: Entry | undefined): Entry | undefined {
  let entry = newest;
  while (entry?.owedTo === 0) entry = entry.earlier;
  return entry;
}

/** 0 for a site that nothing on it is owed to. */
function bitOf(site: SiteName, { name: { sites } }: Page): number {
  const place = sites.indexOf(site);
  return place < 0 ? 0 : 2 ** place;
}

function debtOn(page: Page, site: SiteName): Debt {
  const bit = bitOf(site, page);
  const count = page.entries.filter(({ owedTo }) => (owedTo & bit) !== 0).length;
  return { count, oldestMs: count === 0 ? undefined : page.name.atMs };
}

function leftOn(page: Page): { readonly page: PageName; readonly owed: readonly Owed[] } {
  const { name, entries } = page;
  const owed = name.sites.map((site) => {
    const bit = bitOf(site, page);
    const references = entries.filter(({ owedTo }) => (owedTo & bit) !== 0).map(({ reference }) => reference);
    return { site, atMs: name.atMs, references };
  });
  return { page: name, owed };
}

/** Both together. */
export function addDebts(one: Debt, other: Debt): Debt {
  const times = [one.oldestMs, other.oldestMs].filter((atMs) => atMs !== undefined);
  return { count: one.count + other.count, oldestMs: times.length === 0 ? undefined : Math.min(...times) };
}

/** The inverse of `name`; undefined for what is no name of a page. */
export function readPageName(home: Partition, field: string): PageName | undefined {
  const [time = '', origin, number, sites = ''] = field.split(' ');
  if (origin === undefined || number === undefined || !/^\d{16}$/.test(time) || sites === '')
    return undefined;
  return { home, field, atMs: Number(time), sites: sites.split(',') };
}

function digitsOf(atMs: number): string {
  return String(Math.max(0, Math.trunc(atMs))).padStart(TIME_DIGITS, '0');
}

function keyOf({ kind, mailbox, id }: Reference): string {
  return kind + mailbox + id;
}
