/**
 * The challenges of this site on all nameservers, before the authority is asked to look.
 *
 * All: every nameserver whose votes this vantage hears has to confirm, since the authority may ask any of them. One
 * that is not heard is not waited for, because it will hardly answer the authority either; otherwise one dead provider
 * would keep all the others from renewing.
 */
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { Result } from '../../system/result.ts';
import { AcmeFailure } from './fault.ts';
import type { ChallengeValues } from './order.ts';

/** How challenges reach the nameservers, and who of them is there. */
export interface Publisher {
  /** Gives this site's challenges to every nameserver: JSON `{"zone": [values], "site": [values]}`. */
  publish(text: string): Promise<Result<{ readonly missing: readonly SiteName[] }, string>>;
  /** The other sites whose vantages are heard now. */
  heard(): readonly SiteName[];
}

/** For longer than a vantage that has just died is still taken for one that is heard. */
const TRIES = 15;
const AGAIN_MS = 1000;

/** Where challenges are published, and for how long what a resolver had before may still be in its cache. */
export interface PublicationPlace {
  readonly zone: string;
  readonly site: SiteName;
  readonly staleMs: number;
}

/**
 * Resolves once all that are heard have confirmed, and what was there before is in no cache any more, because all sites
 * prove the zone at one name; secondaries follow meanwhile. Rejects with an AcmeFailure when that cannot be had in a
 * quarter of a minute.
 */
export async function publishEverywhere(
  values: ChallengeValues,
  { zone, site, staleMs }: PublicationPlace,
  { publisher, clock, signal }: { publisher: Publisher; clock: Clock; signal: AbortSignal },
): Promise<void> {
  const text = JSON.stringify({ zone: values.get(zone) ?? [], site: values.get(`${site}.${zone}`) ?? [] });
  let owing: readonly SiteName[] = [];
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const published = await publisher.publish(text);
    const heard = new Set(publisher.heard());
    // What the own nameserver refuses, nobody has been given.
    owing = published.ok ? published.value.missing.filter((name) => heard.has(name)) : [site];
    if (owing.length === 0) {
      await clock.sleep(staleMs, signal);
      return;
    }
    if (attempt < TRIES) await clock.sleep(AGAIN_MS, signal);
  }
  throw new AcmeFailure('not_published', `${owing.join(', ')} did not take the challenge`);
}
