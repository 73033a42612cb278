/**
 * What follows from the manifest in force: whom this vantage probes, whose votes it takes and to whom it sends its
 * own. A newer manifest replaces all of that while the process runs, and the nameserver goes on answering.
 */
import { type Manifest, type SiteName } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { ok, type Result } from '../system/result.ts';
import { createOutsideProbe } from './adapters/external-canary.ts';
import { probeTrust } from './adapters/https-probe.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { createVoteSender, type VoteSender } from './adapters/vote-sender.ts';
import { type ChallengeRefusal, type ChallengesOptions, createChallenges } from './challenges.ts';
import type { VantageConfig } from './config.ts';
import { openVote, signVote, type VoteKeys, type VoteRefusal, voteKeysOf } from './core/vote.ts';
import type { Events } from './events.ts';
import type { Judgement } from './judgement.ts';
import { startProbing } from './probing.ts';

export interface MembershipOptions {
  readonly config: VantageConfig;
  /** The manifest to begin with. */
  readonly manifest: Manifest;
  readonly clock: Clock;
  readonly random: Random;
  readonly judgement: Judgement;
  readonly events: Events;
  readonly bootEpoch: number;
  /** The ACME challenges that hold now, of all sites, and whether they are served. */
  readonly challengesChanged: ChallengesOptions['changed'];
  readonly isServing: ChallengesOptions['isServing'];
}

export interface Membership {
  /** Dates, signs and sends the own vote. */
  publish(): void;
  /** Takes a signed vote from the vantage that the connection has proved. */
  receiveVote(signed: string, sender: SiteName): Promise<Result<void, VoteRefusal>>;
  /** Takes ACME challenges from the site that the connection has proved. */
  receiveChallenges(text: string, sender: SiteName): Result<void, ChallengeRefusal>;
  /** Takes ACME challenges of this site, and gives them to every other vantage. */
  publishChallenges(text: string): Promise<Result<ChallengesReport, ChallengeRefusal>>;
  /** Goes on with this manifest; calls must not overlap. */
  adopt(manifest: Manifest): Promise<void>;
}

/** Who serves this site's challenges now; an authority may ask any nameserver that can be reached. */
interface ChallengesReport {
  readonly confirmed: readonly SiteName[];
  readonly missing: readonly SiteName[];
}

/** Everything that depends on one manifest. */
interface Joined {
  readonly manifest: Manifest;
  readonly keys: VoteKeys;
  readonly sender: VoteSender;
  leave(): void;
}

/** Begins to probe and to send the own vote, until the resources are disposed of. */
export async function joinFleet(
  options: MembershipOptions,
  resources: AsyncDisposableStack,
): Promise<Membership> {
  const { config, judgement, events } = options;
  let send: VoteSender['send'] = () => undefined;
  const publish = publisher(options, (signed) => send(signed));
  let joined = await join(options.manifest, options, publish);
  send = (signed) => joined.sender.send(signed);
  resources.defer(() => joined.leave());
  const takeChallenges = challengeTaker(options, resources);
  return {
    publish,
    receiveVote: async (signed, sender) => {
      const vote = await openVote(signed, sender, joined.keys);
      const taken = vote.ok ? judgement.receive(vote.value, signed) : vote;
      if (taken.ok) events.voteTaken();
      else events.voteRefused(taken.fault, sender);
      return taken;
    },
    receiveChallenges: takeChallenges,
    publishChallenges: async (text) => {
      const taken = takeChallenges(text, config.site);
      if (!taken.ok) return taken;
      const outcomes = [...(await joined.sender.sendChallenges(text))];
      const namesOf = (delivered: boolean): readonly SiteName[] =>
        outcomes.filter(([, outcome]) => (outcome === 'delivered') === delivered).map(([peer]) => peer);
      return ok({ confirmed: [config.site, ...namesOf(true)], missing: namesOf(false) });
    },
    adopt: async (manifest) => {
      // Other overrides change neither whom it probes nor whom it believes.
      const next =
        manifest.version === joined.manifest.version ? undefined : await join(manifest, options, publish);
      judgement.adopt(manifest);
      if (next === undefined) return;
      joined.leave();
      joined = next;
      publish();
    },
  };
}

function challengeTaker(
  { clock, challengesChanged, isServing, events }: MembershipOptions,
  resources: AsyncDisposableStack,
): (text: string, from: SiteName) => Result<void, ChallengeRefusal> {
  const challenges = createChallenges({ clock, isServing, changed: challengesChanged });
  resources.defer(() => challenges.close());
  return (text, from) => {
    const taken = challenges.receive(text, from);
    events.challengesReceived(from, taken.ok ? 'taken' : taken.fault);
    return taken;
  };
}

async function join(manifest: Manifest, options: MembershipOptions, publish: () => void): Promise<Joined> {
  const { config, clock, events, judgement, random } = options;
  const keys = await voteKeysOf(manifest);
  const sender = createVoteSender({
    manifest,
    self: config.site,
    identity: config.identity,
    clock,
    posted: (peer, outcome) => events.votePosted(peer, outcome),
  });
  const trust = probeTrust(config.extraCa);
  const { probeIntervalMs } = manifest.health;
  const lookOutside = createOutsideProbe({
    manifest,
    trust,
    clock,
    reached: (reached) => judgement.reachesOutside(reached),
  });
  const stops = [
    everyPeriod(probeIntervalMs, lookOutside, { clock, random }),
    startProbing(manifest, {
      self: config.site,
      trust,
      operatorToken: config.operatorToken,
      clock,
      random,
      judgement,
      events,
    }),
    everyPeriod(probeIntervalMs / 2, publish, { clock, random }),
    everyPeriod(probeIntervalMs / 4, () => judgement.evaluate(), { clock, random }),
  ];
  return {
    manifest,
    keys,
    sender,
    leave: () => {
      for (const stop of stops) stop();
      sender.close();
    },
  };
}

/** Signs one vote at a time; of several that are due meanwhile, only the newest is sent. */
function publisher(
  { judgement, config, bootEpoch }: MembershipOptions,
  send: (signed: string) => void,
): () => void {
  let sequence = 0;
  let isSigning = false;
  let isOutdated = false;
  const publish = async (): Promise<void> => {
    isOutdated = true;
    if (isSigning) return;
    isSigning = true;
    while (isOutdated) {
      isOutdated = false;
      sequence += 1;
      send(await signVote({ ...judgement.stance(), bootEpoch, sequence }, config.voteKey));
    }
    isSigning = false;
  };
  return () => void publish();
}
