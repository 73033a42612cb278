/**
 * What a fault is: how it is caused, how it is proved, how it ends, and what may be seen of it from outside.
 *
 * A fault says what it expects; it judges nothing. So adding one is adding one entry to the file of its family, and
 * every figure of the report and its bound follow from its expectation.
 */
import type { Clock } from '../../../system/clock.ts';
import type { Random } from '../../../system/random.ts';
import type { LocalFleet } from '../../local/fleet.ts';
import type { LocalSite, PartSettings } from '../../local/site.ts';
import type { ClientCrew, CrewOptions } from '../clients.ts';

/** What this machine must be able to do; see `whyMissing`. */
export type Need = 'redis' | 'namespaces' | 'faketime';

export interface Expectation {
  /** Nameservers whose answer has to leave out the site: those at the other sites, all, or none. */
  readonly withdrawnAt: 'others' | 'all' | 'nowhere';
  /** What may leave an answer; whatever else leaves one is a false withdrawal. */
  readonly mayLeave: 'nobody' | 'the site' | 'anybody';
  /**
   * What clients see. `unaffected`: nothing. `restored during it`: all are served again, within bounds, while the fault
   * lasts. `restored after it`: some may be without service until it is over.
   */
  readonly service: 'unaffected' | 'restored during it' | 'restored after it';
  /** The site does not answer at all, so everybody who asks it waits for a time-out. */
  readonly silent: boolean;
  /** A run in which no DNS-only client noticed the fault proves nothing. */
  readonly noticed: boolean;
  /** Clients with failover are served throughout, within their bounds. */
  readonly failoverServed: boolean;
}

/** Where a fault happens. */
export interface Scene {
  readonly fleet: LocalFleet;
  readonly site: LocalSite;
  readonly others: readonly LocalSite[];
  /** How long the fault is to last. */
  readonly seconds: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly crewOptions: CrewOptions;
  /** Lets one more crew of clients take part; the drill ends it with the others. */
  readonly join: (crew: ClientCrew) => void;
}

export interface Cause {
  /** What was done, for whoever watches the drill. */
  readonly done: string;
  /** Asked until it says true: from then on time is measured. */
  readonly isEffective: () => boolean | Promise<boolean>;
  /** What goes on while the fault lasts. It ends soon after the signal aborts, and does not reject for it. */
  readonly course?: (signal: AbortSignal) => Promise<void>;
  /** The course never ends by itself; otherwise the fault lasts until it has. */
  readonly isEndless?: boolean;
  /** Ends the fault. Rejects when something of the site does not come back. */
  readonly heal: () => Promise<void>;
}

export interface Fault {
  /** What happens, to be read after the name of the site. */
  readonly what: string;
  readonly needs: readonly Need[];
  /** How long it lasts unless the operator says otherwise. */
  readonly seconds: number;
  readonly expects: Expectation;
  /** Settings of the fleet that it takes place in. */
  readonly settings?: PartSettings;
  readonly inject: (scene: Scene) => Promise<Cause>;
}

/** A site is lost as a whole: it is withdrawn, and everybody is back while it is away. */
export const SITE_LOST: Expectation = {
  withdrawnAt: 'others',
  mayLeave: 'the site',
  service: 'restored during it',
  silent: false,
  noticed: true,
  failoverServed: true,
};

/** Something is wrong that is no reason to withdraw anybody, and nobody notices it. */
export const UNNOTICED: Expectation = {
  withdrawnAt: 'nowhere',
  mayLeave: 'nobody',
  service: 'unaffected',
  silent: false,
  noticed: false,
  failoverServed: true,
};

/** Something passes that may fail sends and cut connections, and may or may not be long enough for a withdrawal. */
export const PASSING: Expectation = {
  ...UNNOTICED,
  mayLeave: 'the site',
  service: 'restored after it',
};
