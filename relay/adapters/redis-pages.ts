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
import type { Debt, Settlement } from '../ports.ts';

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
  /** Takes off its page what is settled; gives what is on none. */
  settle(settlements: readonly Settlement[]): readonly Settlement[];
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
  /** By site, in the order of its sites: what is left. */
  readonly left: readonly Map<string, Reference>[];
}

/** None at first. `origin` names this relay and has no blank. */
export function createPages(origin: string): Pages {
  const pages = new Map<string, Page>();
  /** The pages on which something is; usually one. */
  const pagesOf = new Map<string, readonly Page[]>();
  const done = new Set<Page>();
  let count = 0;

  const takeOff = (page: Page, site: SiteName, key: string): boolean => {
    const place = page.name.sites.indexOf(site);
    if (page.left[place]?.delete(key) !== true) return false;
    if (page.left.some((left) => left.has(key))) return true;
    const others = pagesOf.get(key)?.filter((one) => one !== page) ?? [];
    if (others.length === 0) pagesOf.delete(key);
    else pagesOf.set(key, others);
    if (page.left.every(({ size }) => size === 0)) done.add(page);
    return true;
  };

  return {
    name: (home, atMs, sites) => {
      count += 1;
      const field = [digitsOf(atMs), origin, count.toString(36), sites.join(',')].join(' ');
      return { home, field, atMs, sites };
    },
    opened: (name, references) => {
      const page: Page = { name, left: name.sites.map(() => new Map<string, Reference>()) };
      pages.set(name.field, page);
      for (const reference of references) {
        const key = keyOf(reference);
        // It is owed anew, and once.
        for (const earlier of pagesOf.get(key) ?? []) {
          for (const site of name.sites) takeOff(earlier, site, key);
        }
        for (const left of page.left) left.set(key, reference);
        pagesOf.set(key, [...(pagesOf.get(key) ?? []), page]);
      }
    },
    settle: (settlements) =>
      settlements.filter(({ site, reference }) => {
        const key = keyOf(reference);
        const found = pagesOf.get(key) ?? [];
        return found.filter((page) => takeOff(page, site, key)).length === 0;
      }),
    done: () => [...done].map(({ name }) => name),
    before: (beforeMs) => [...pages.values()].filter(({ name }) => name.atMs < beforeMs).map(leftOn),
    closed: (names) => {
      for (const { field } of names) {
        const page = pages.get(field);
        if (page === undefined) continue;
        for (const [place, left] of page.left.entries()) {
          for (const key of left.keys()) takeOff(page, page.name.sites[place] ?? '', key);
        }
        done.delete(page);
        pages.delete(field);
      }
    },
    has: ({ field }) => pages.has(field),
    debtTo: (site) => {
      let debt: Debt = { count: 0, oldestMs: undefined };
      for (const { name, left } of pages.values()) {
        const size = left[name.sites.indexOf(site)]?.size ?? 0;
        if (size > 0) debt = addDebts(debt, { count: size, oldestMs: name.atMs });
      }
      return debt;
    },
  };
}

function leftOn({ name, left }: Page): { readonly page: PageName; readonly owed: readonly Owed[] } {
  const owed = name.sites.map((site, place) => ({
    site,
    atMs: name.atMs,
    references: [...(left[place]?.values() ?? [])],
  }));
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
