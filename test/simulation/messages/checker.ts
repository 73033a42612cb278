/**
 * What must always hold, watched by somebody who sees every disk: it hears of each write when it is synced, of each
 * 201 when it is given, of each frame when it leaves and of each message when an application has it.
 */
import type { SiteName } from '../../../fleet/manifest/manifest.ts';
import type { Effect } from './disk.ts';
import type { Stage } from './stage.ts';

export interface Checker {
  /** A sender is about to send this for the first time. */
  sent(id: string, name: string, recipient: string, body: Uint8Array): void;
  durable(site: SiteName, effects: readonly Effect[]): void;
  wiped(site: SiteName): void;
  /** A relay answers 201 to a request that came at `sinceMs`. */
  accepted(id: string, by: string, sinceMs: number): void;
  /** A relay of the site hands the message to the socket of a recipient; `arrival`: until that was told that nothing more waits. */
  delivering(site: SiteName, id: string, arrival: Arrival | undefined): void;
  /** A recipient's client has it, for the first time or again. */
  arrived(recipient: string, id: string, body: Uint8Array): void;
  /** Its application has it. */
  received(recipient: string, id: string): void;
  /** The client of a recipient remembers nothing any more of what its application has. */
  forgot(recipient: string): void;
  acked(ids: readonly string[]): void;
  /** From now on more is destroyed than the promise allows: what is lost is counted and not held against anybody. */
  leavePromise(): void;
  /** Whether these two sites can talk to each other now, with relays and stores that are well. */
  touching(one: SiteName, other: SiteName, isTouching: boolean): void;
  /** Everybody says that every copy is back: then there must be two of everything. */
  restored(): void;
  /** What some site has known for `forMs` must be known to every site by now. */
  spread(forMs: number): void;
  /** Two providers have been well for a while: every accepted message has two copies, though others are gone. */
  doubled(): void;
  /** Accepted, neither expired nor forfeited, and no application has it yet. */
  readonly missing: () => readonly string[];
  /** After the last chance of everything: what is still missing is lost. */
  finish(): void;
  violate(what: string): void;
  readonly violations: readonly string[];
}

/** A recipient came to a relay. */
export interface Arrival {
  readonly atMs: number;
  /** To which sites the relay has had links that are alive since then. */
  readonly linkedTo: () => readonly SiteName[];
}

interface Fate {
  readonly name: string;
  readonly recipient: string;
  readonly body: Uint8Array;
  expiresMs: number;
  /** Sites on whose disk it is, and since when. */
  readonly holders: Map<SiteName, number>;
  /** Sites that had it when their disk was destroyed, and have not said since that they are whole. */
  readonly lostAt: Set<SiteName>;
  /** Sites that remember its tombstone, and since when. */
  readonly buriedMs: Map<SiteName, number>;
  /** Until when a provider had it or its tombstone; infinity while it does. */
  readonly knownUntilMs: Map<string, number>;
  isAccepted: boolean;
  isReceived: boolean;
  /** The client knows that its application has it. */
  isRemembered: boolean;
  isForfeited: boolean;
  /** When every site remembered its tombstone at the same time. */
  settledMs: number | undefined;
}

/** A clock that is further off keeps a site from expiring anything; half a second for the sweep. */
const SKEW_MS_MAX = 30_500;
/** A frame may have been read from the store so long before it leaves. */
const IN_FLIGHT_MS = 3000;
/** As outboxes: a frame that is lost costs the time-out of its call, and the next may be lost too. */
const HEARD_WITHIN_MS = 15_000;
const VIOLATIONS_MAX = 20;

export interface CheckerOptions {
  readonly sites: readonly { readonly name: SiteName; readonly provider: string }[];
  readonly copiesNeeded: number;
  /** When a frame from one site to another was last lost. */
  readonly lostMs: (from: SiteName, to: SiteName) => number;
}

/** Makes the checker of one run. */
export function createChecker(stage: Stage, { sites, copiesNeeded, lostMs }: CheckerOptions): Checker {
  const { time, trace } = stage;
  const clock = time.clockOf();
  const wallMs = (): number => clock.wallMs();
  const fates = new Map<string, Fate>();
  const violations: string[] = [];
  /** Wiped, and not known to be whole since. */
  const unrestored = new Set<SiteName>();
  let isInsidePromise = true;

  const violate = (what: string): void => {
    trace.note('CHECKER', `VIOLATION: ${what}`);
    if (violations.length < VIOLATIONS_MAX) violations.push(`${(time.nowMs() / 1000).toFixed(3)} s: ${what}`);
  };
  /** Providers that have it or its tombstone, now or at some moment since `sinceMs`. */
  const knowing = (fate: Fate, sinceMs: number): number =>
    [...fate.knownUntilMs.values()].filter((untilMs) => untilMs >= sinceMs).length;
  const noteKnown = (fate: Fate): void => {
    for (const { provider } of sites) {
      const knows = sites.some(
        (site) => site.provider === provider && (fate.holders.has(site.name) || fate.buriedMs.has(site.name)),
      );
      const untilMs = fate.knownUntilMs.get(provider);
      if (knows) fate.knownUntilMs.set(provider, Number.POSITIVE_INFINITY);
      else if (untilMs === Number.POSITIVE_INFINITY) fate.knownUntilMs.set(provider, time.nowMs());
    }
  };
  const touchingSinceMs = new Map<string, number>();
  /** A site that knows the tombstone, and could have told `site` for long enough. */
  const whoCouldTell = (fate: Fate, site: SiteName): SiteName | undefined =>
    [...fate.buriedMs].find(([other, sinceMs]) => {
      const touchingMs = touchingSinceMs.get(`${site} ${other}`) ?? time.nowMs();
      return time.nowMs() - Math.max(sinceMs, touchingMs) > HEARD_WITHIN_MS;
    })?.[0];
  /** Whether what `site` has asked `other` since `atMs` has come there, and the answer back. */
  const couldAsk = (site: SiteName, other: SiteName, atMs: number): boolean => {
    const wellSinceMs = touchingSinceMs.get(`${site} ${other}`) ?? time.nowMs();
    return Math.max(wellSinceMs, lostMs(site, other), lostMs(other, site)) < atMs;
  };
  /**
   * Whether enough providers had buried it when somebody came, and the sites that `site` could not ask since are at too few of
   * them to have kept it to themselves.
   */
  const mustHaveMet = (fate: Fate, site: SiteName, { atMs, linkedTo }: Arrival): boolean => {
    const buriers = sites.filter(({ name }) => (fate.buriedMs.get(name) ?? time.nowMs()) < atMs);
    const asked = linkedTo().filter((other) => couldAsk(site, other, atMs));
    const unasked = sites.filter(({ name }) => name !== site && !asked.includes(name));
    const providersOf = (some: CheckerOptions['sites']): number =>
      new Set(some.map(({ provider }) => provider)).size;
    return providersOf(buriers) >= copiesNeeded && providersOf(unasked) < copiesNeeded;
  };
  const isOwed = (fate: Fate): boolean =>
    fate.isAccepted && !fate.isReceived && !fate.isForfeited && wallMs() < fate.expiresMs - SKEW_MS_MAX;
  /** Accepted, and nobody has said that it was acked. */
  const isWaiting = (fate: Fate): boolean =>
    fate.isAccepted &&
    !fate.isForfeited &&
    fate.holders.size > 0 &&
    fate.buriedMs.size === 0 &&
    wallMs() < fate.expiresMs - SKEW_MS_MAX;
  const checkAlive = (fate: Fate, how: string): void => {
    if (!isOwed(fate) || fate.holders.size > 0 || fate.buriedMs.size > 0) return;
    if (isInsidePromise) {
      violate(`${fate.name} was accepted and is on no disk any more: ${how}`);
    }
    fate.isForfeited = true;
    stage.count('forfeited beyond the promise');
  };
  const bury = (site: SiteName, fate: Fate): void => {
    fate.holders.delete(site);
    fate.buriedMs.set(site, fate.buriedMs.get(site) ?? time.nowMs());
    noteKnown(fate);
    if (fate.buriedMs.size === sites.length) fate.settledMs ??= time.nowMs();
  };
  const expire = (site: SiteName, nowMs: number): void => {
    for (const fate of fates.values()) {
      if (!fate.holders.has(site) || fate.expiresMs > nowMs) continue;
      fate.holders.delete(site);
      noteKnown(fate);
      if (wallMs() < fate.expiresMs - SKEW_MS_MAX) violate(`${fate.name} expired early at ${site}`);
      checkAlive(fate, `expired at ${site}`);
    }
  };

  return {
    violations,
    violate,
    sent: (id, name, recipient, body) => {
      fates.set(id, {
        name,
        recipient,
        body,
        expiresMs: 0,
        holders: new Map(),
        lostAt: new Set(),
        buriedMs: new Map(),
        knownUntilMs: new Map(),
        isAccepted: false,
        isReceived: false,
        isRemembered: false,
        isForfeited: false,
        settledMs: undefined,
      });
    },
    durable: (site, effects) => {
      for (const effect of effects) {
        switch (effect.type) {
          case 'stored': {
            const fate = fates.get(effect.id);
            if (fate === undefined) break;
            fate.expiresMs = Math.max(fate.expiresMs, effect.expiresMs);
            fate.holders.set(site, fate.holders.get(site) ?? time.nowMs());
            noteKnown(fate);
            break;
          }
          case 'buried':
            for (const id of effect.ids) {
              const fate = fates.get(id);
              if (fate !== undefined) bury(site, fate);
            }
            break;
          case 'expired':
            expire(site, effect.nowMs);
            break;
        }
      }
    },
    wiped: (site) => {
      unrestored.add(site);
      for (const fate of fates.values()) {
        if (fate.holders.delete(site)) fate.lostAt.add(site);
        fate.buriedMs.delete(site);
        noteKnown(fate);
        checkAlive(fate, `the disk of ${site} was destroyed`);
      }
    },
    accepted: (id, by, sinceMs) => {
      const fate = fates.get(id);
      if (fate === undefined) return violate(`${by} accepted what nobody sent`);
      const copies = knowing(fate, sinceMs);
      if (copies < copiesNeeded)
        violate(`${by} accepted ${fate.name} with ${copies} of ${copiesNeeded} providers`);
      if (!fate.isAccepted) stage.count('accepted');
      fate.isAccepted = true;
    },
    delivering: (site, id, arrival) => {
      const fate = fates.get(id);
      if (fate === undefined) return violate(`${site} delivers what nobody sent`);
      const nowMs = time.nowMs();
      const buriedMs = fate.buriedMs.get(site) ?? nowMs;
      if (nowMs - buriedMs > IN_FLIGHT_MS) violate(`${site} delivers ${fate.name}, whose tombstone it has`);
      if (arrival !== undefined && mustHaveMet(fate, site, arrival)) {
        violate(`${site} delivers ${fate.name} to who has just come, and could have asked who has buried it`);
      }
      const teller = whoCouldTell(fate, site);
      const isWhole = isInsidePromise && !unrestored.has(site);
      if (teller !== undefined && !fate.buriedMs.has(site) && isWhole) {
        violate(`${site} delivers ${fate.name}, of whose tombstone ${teller} could have told it for long`);
      }
      const buriers = sites.filter(({ name }) => fate.buriedMs.has(name)).map(({ provider }) => provider);
      if (new Set(buriers).size >= copiesNeeded) stage.count('delivered after two providers had buried it');
      const isSettled = nowMs - (fate.settledMs ?? nowMs) > IN_FLIGHT_MS;
      if (isSettled && isWhole) {
        violate(`${site} delivers ${fate.name}, which every site had buried`);
      }
    },
    arrived: (recipient, id, body) => {
      const fate = fates.get(id);
      if (fate === undefined || fate.recipient !== recipient || Buffer.compare(fate.body, body) !== 0) {
        return violate(`${recipient} received what was not sent to it`);
      }
      stage.count(fate.isReceived ? 'delivered again' : 'delivered');
    },
    received: (recipient, id) => {
      const fate = fates.get(id);
      if (fate === undefined) return;
      if (fate.isRemembered) violate(`the application of ${recipient} gets ${fate.name} twice`);
      if (fate.isReceived) stage.count('shown again after a restart');
      fate.isReceived = true;
      fate.isRemembered = true;
    },
    forgot: (recipient) => {
      for (const fate of fates.values()) if (fate.recipient === recipient) fate.isRemembered = false;
    },
    touching: (one, other, isTouching) => {
      for (const pair of [`${one} ${other}`, `${other} ${one}`]) {
        if (!isTouching) touchingSinceMs.delete(pair);
        else if (!touchingSinceMs.has(pair)) touchingSinceMs.set(pair, time.nowMs());
      }
    },
    acked: (ids) => stage.count('acked', ids.length),
    leavePromise: () => {
      if (isInsidePromise) trace.note('CHECKER', 'the promise no longer covers what is lost');
      isInsidePromise = false;
    },
    restored: () => {
      unrestored.clear();
      if (!isInsidePromise) return;
      for (const fate of fates.values()) {
        const copies = knowing(fate, Number.POSITIVE_INFINITY);
        if (isOwed(fate) && copies < copiesNeeded) {
          violate(`every site says it is whole, and ${fate.name} has ${copies} of ${copiesNeeded} copies`);
        }
        for (const site of fate.lostAt) {
          const isBack = fate.holders.has(site) || fate.buriedMs.has(site);
          // What others have only just got is on its way.
          const isOld = [...fate.holders.values()].some((sinceMs) => time.nowMs() - sinceMs > IN_FLIGHT_MS);
          if (isWaiting(fate) && isOld && !isBack)
            violate(`${site} says it is whole, and lacks ${fate.name}, which it had`);
        }
        fate.lostAt.clear();
      }
    },
    spread: (forMs) => {
      const beforeMs = time.nowMs() - forMs;
      for (const fate of fates.values()) {
        if (wallMs() > fate.expiresMs - SKEW_MS_MAX) continue;
        const isBuried = [...fate.buriedMs.values()].some((sinceMs) => sinceMs < beforeMs);
        const isHeld = [...fate.holders.values()].some((sinceMs) => sinceMs < beforeMs);
        for (const { name } of sites) {
          if (fate.buriedMs.has(name) || (!isBuried && (!isHeld || fate.holders.has(name)))) continue;
          violate(
            `${name} has not heard ${isBuried ? 'that' : 'of'} ${fate.name}${isBuried ? ' was acked' : ''}`,
          );
        }
      }
    },
    doubled: () => {
      for (const fate of fates.values()) {
        const copies = knowing(fate, Number.POSITIVE_INFINITY);
        if (isWaiting(fate) && copies < copiesNeeded) {
          violate(`two providers are well, and ${fate.name} still has ${copies} of ${copiesNeeded} copies`);
        }
      }
    },
    missing: () => [...fates.values()].filter(isOwed).map(({ name }) => name),
    finish: () => {
      for (const fate of fates.values()) {
        if (isOwed(fate)) violate(`${fate.name} was accepted and never delivered`);
        else if (fate.isAccepted && !fate.isReceived && !fate.isForfeited) stage.count('expired unread');
      }
    },
  };
}
