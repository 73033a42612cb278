/**
 * What every nameserver really answers, asked over the network every 50 ms: a log can say that an answer has
 * changed, only a query can show it.
 */
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { askForAddresses, type Nameserver } from './dns-question.ts';

/** From `atMs` on the nameserver gave this answer. */
export interface AnswerChange {
  readonly nameserver: string;
  readonly atMs: number;
  /** None: it was silent, or refused, or its answer was empty. */
  readonly sites: readonly string[];
  /** It answered, with no address: the one thing that it must never do. */
  readonly empty: boolean;
}

export interface NameserverWatch {
  readonly changes: readonly AnswerChange[];
  /** The sites in the last answer of a nameserver, sorted; none when it is silent. */
  current(nameserver: string): readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
}

export interface WatchedNameserver extends Nameserver {
  readonly site: string;
}

const EVERY_MS = 50;
const TIMEOUT_MS = 250;
/** A nameserver that does not answer so many times in a row is silent; one lost datagram is not. */
const SILENT_AFTER = 3;

/** Asks from now until it is disposed of. An address that belongs to no site stands for itself in an answer. */
export function watchNameservers(
  nameservers: readonly WatchedNameserver[],
  zone: string,
  siteOfAddress: ReadonlyMap<string, string>,
  clock: Clock,
  random: Random,
): NameserverWatch {
  const changes: AnswerChange[] = [];
  const current = new Map<string, AnswerChange>();
  const stopping = new AbortController();
  const watch = async (nameserver: WatchedNameserver): Promise<void> => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      const sites = await sitesAnswered(nameserver, zone, siteOfAddress, random);
      failures = sites === undefined ? failures + 1 : 0;
      if (sites !== undefined || failures >= SILENT_AFTER) note(nameserver.site, sites);
      await clock.sleep(EVERY_MS, stopping.signal).catch(() => undefined);
    }
  };
  const note = (nameserver: string, answered: readonly string[] | undefined): void => {
    const sites = answered ?? [];
    const empty = answered?.length === 0;
    const before = current.get(nameserver);
    if (before?.empty === empty && before.sites.join() === sites.join()) return;
    const change = { nameserver, atMs: clock.monotonicMs(), sites, empty };
    current.set(nameserver, change);
    changes.push(change);
  };
  const watching = nameservers.map(watch);
  return {
    changes,
    current: (nameserver) => current.get(nameserver)?.sites ?? [],
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await Promise.all(watching);
    },
  };
}

async function sitesAnswered(
  nameserver: Nameserver,
  zone: string,
  siteOfAddress: ReadonlyMap<string, string>,
  random: Random,
): Promise<readonly string[] | undefined> {
  try {
    const { addresses } = await askForAddresses(nameserver, zone, random, TIMEOUT_MS);
    return [...new Set(addresses.map((address) => siteOfAddress.get(address) ?? address))].sort();
  } catch {
    return undefined;
  }
}
