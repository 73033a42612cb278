/**
 * The certificate of this site, kept while the process runs, when the settings name an authority; and this site's place
 * in the fleet as the keeper of the certificate sees it.
 */
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Metrics } from '../../system/metrics.ts';
import type { Random } from '../../system/random.ts';
import type { VantageConfig } from '../config.ts';
import { freshVotes } from '../core/vote.ts';
import type { Member } from '../member.ts';
import { createAcmeEvents } from './events.ts';
import { type CertificateKeeper, openCertificateKeeper } from './keeper.ts';
import type { Place } from './place.ts';

interface SiteCertificateDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly member: () => Member | undefined;
}

/** Undefined without an authority. Rejects when the account's key can be neither read nor made. */
export async function keepSiteCertificate(
  { acme, site, stateDir }: VantageConfig,
  { clock, random, log, metrics, member }: SiteCertificateDeps,
  resources: AsyncDisposableStack,
): Promise<CertificateKeeper | undefined> {
  if (acme === undefined) return undefined;
  const keeper = await openCertificateKeeper({
    acme,
    site,
    stateDir,
    place: () => placeOf(member(), clock),
    clock,
    random,
    events: createAcmeEvents(metrics, log, () => clock.wallMs()),
  });
  const stopping = new AbortController();
  const running = keeper.run(stopping.signal);
  resources.defer(async () => {
    stopping.abort(new Error('stopping'));
    await running;
  });
  return keeper;
}

function placeOf(member: Member | undefined, clock: Clock): Place | undefined {
  if (member === undefined) return undefined;
  const { judgement, membership } = member;
  const { manifest } = judgement.state();
  const hasNameserver = new Set(manifest.sites.map(({ name }) => name));
  return {
    manifest,
    heard: () => {
      const { book, manifest: inForce } = judgement.state();
      const heard = freshVotes(book, clock.monotonicMs(), inForce).map(({ vote }) => vote.vantage);
      return heard.filter((name) => hasNameserver.has(name));
    },
    publish: async (text) => membership.publishChallenges(text),
  };
}
