/**
 * A vantage as a member of the fleet: what begins when a manifest has it for the first time, and ends when one no longer
 * does. It judges, votes, decides and publishes; the sockets through which all that happens belong to the process
 * (`vantage.ts`).
 */
import type { Manifest } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { createStateFile, readState, writeState } from './adapters/state-file.ts';
import { beginningFrom, beginToAnswer, savedFrom } from './cold-start.ts';
import type { VantageConfig } from './config.ts';
import { RULES } from './core/decision.ts';
import type { Answer, Choose } from './core/failover.ts';
import type { Events } from './events.ts';
import { createJudgement, type Judgement, type JudgementOptions, type Served } from './judgement.ts';
import { joinFleet, type Membership } from './membership.ts';
import type { Nameserver } from './nameserver.ts';

export interface MemberOptions {
  readonly config: VantageConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly events: Events;
  /** `choose` of `core/failover.ts` everywhere but in drills that prove themselves. */
  readonly choose: Choose;
  /** Undefined at a witness. */
  readonly nameserver: Nameserver | undefined;
  readonly decided: JudgementOptions['decided'];
}

export interface Member extends AsyncDisposable {
  readonly judgement: Judgement;
  readonly membership: Membership;
  /** Whether there is an answer. */
  isAnswering(): boolean;
}

/** The state is saved at every change of the answer, and this often, so that its age tells how long we were away. */
const SAVE_EVERY_MS = 60_000;

/** Resolves once it judges and votes; the first answer comes soon after. */
export async function startMember(manifest: Manifest, options: MemberOptions): Promise<Member> {
  const { config, clock, random, events, nameserver, log } = options;
  const resources = new AsyncDisposableStack();
  const leaving = new AbortController();
  events.manifestAdopted(manifest.version);
  const saved = await readState(config.stateDir);
  if (!saved.ok) events.stateFault(saved.fault);
  const beginning = beginningFrom(saved.ok ? saved.value : undefined, manifest, clock);
  const { bootEpoch } = beginning;
  // Before the first vote: a boot epoch that is not on disk could be used twice.
  await writeState(config.stateDir, beginning.toSave);
  const stateFile = createStateFile(config.stateDir, () => events.stateFault('unwritable'));
  resources.defer(async () => stateFile.settled());
  resources.defer(() => nameserver?.withdraw());

  let inForce: Answer | undefined;
  const save = (): void => {
    if (inForce !== undefined) stateFile.save(savedFrom(inForce, bootEpoch, clock));
  };
  const serve = (served: Served): void => {
    nameserver?.publish(served);
    const isNew = served.answer !== inForce;
    inForce = served.answer;
    if (isNew) save();
  };
  let membership: Membership | undefined;
  const judgement = createJudgement({
    manifest,
    self: config.site,
    rules: { ...RULES, choose: options.choose },
    clock,
    events,
    serve,
    stanceChanged: () => membership?.publish(),
    decided: options.decided,
  });
  membership = await joinFleet(
    {
      config,
      manifest,
      clock,
      random,
      judgement,
      events,
      bootEpoch,
      challengesChanged: (records) => nameserver?.setChallenges(records),
      isServing: () => nameserver?.isReady() ?? true,
    },
    resources,
  );
  resources.defer(everyPeriod(SAVE_EVERY_MS, save, { clock, random }));
  resources.defer(() => leaving.abort(new Error('leaving')));
  const context = { manifest, self: config.site, clock, stopped: leaving.signal };
  // Nobody waits for the first answer: the votes that it may rest on arrive meanwhile.
  void beginToAnswer(judgement, beginning, context).then(
    () => log.info('serving', { zone: manifest.zone, manifestVersion: manifest.version }),
    () => undefined,
  );
  return {
    judgement,
    membership,
    isAnswering: () => inForce !== undefined,
    [Symbol.asyncDispose]: async () => resources.disposeAsync(),
  };
}
