/**
 * The world of messages: a fleet of two to four sites under faults, with senders and recipients; then everything is
 * mended, and within a bounded time every accepted message is with its recipient and every site holds the same.
 */
import { createSeen } from '../../../client/seen.ts';
import { COPIES_NEEDED } from '../../../relay/core/copies.ts';
import type { KeyRing } from '../../../relay/core/key-ring.ts';
import { mailboxTagOf, type Partition, partitionOf } from '../../../relay/core/mailbox.ts';
import { testManifest } from '../../support/manifests.ts';
import { createTrace } from '../trace.ts';
import { createVirtualTime } from '../virtual-time.ts';
import type { World } from '../world.ts';
import { type Checker, createChecker } from './checker.ts';
import { bringFaults, isRestored } from './faults.ts';
import { MUTANTS } from './mutants.ts';
import { createNetwork, type Network } from './network.ts';
import { createRecipient, type Recipient } from './recipients.ts';
import { createSenders } from './senders.ts';
import { createSite, type SimulatedSite, TOUCH_EVERY_MS } from './site.ts';
import { between, createStage, pick, type Stage } from './stage.ts';

export const messages: World = {
  name: 'messages',
  about: 'relays that accept, replicate, deliver and delete, with faults everywhere',
  mutants: Object.fromEntries(Object.entries(MUTANTS).map(([name, { wrong }]) => [name, wrong])),
  run: async ({ seed, mutant, say }) => {
    const time = createVirtualTime();
    const trace = createTrace(time.nowMs, say);
    const stage = createStage(seed, time, trace);
    const play = setUp(stage, mutant === undefined ? {} : (MUTANTS[mutant] ?? {}));
    const over = new AbortController();
    const running = runThrough(stage, play).finally(() => over.abort());
    while (!over.signal.aborted) await time.advance(STEP_MS);
    await running;
    stage.count('simulated seconds', Math.round(time.nowMs() / 1000));
    return { violations: play.checker.violations, figures: stage.figures, digest: trace.digest() };
  },
};

interface Play {
  readonly sites: readonly SimulatedSite[];
  readonly network: Network;
  readonly checker: Checker;
  readonly recipients: readonly Recipient[];
  readonly partitions: readonly Partition[];
  /** At each site. */
  readonly relays: number;
  readonly startSenders: () => ReturnType<typeof createSenders>;
  /** Brings faults, ends them all, and resolves. */
  readonly suffer: () => Promise<void>;
}

const STEP_MS = 500;
/** How long everything may take to be whole again after the last fault, virtual milliseconds. */
const MENDED_WITHIN_MS = 60_000;
/** Nothing is over before, also when it looks so. */
const SETTLED_AFTER_MS = 16_000;
const TIMERS_MAX = 2000;
/** Ids that a client remembers; a run has some hundreds at most. */
const IDS_MAX = 10_000;
const FLEETS = [
  ['aws', 'gcp', 'hetzner'],
  ['aws', 'gcp', 'hetzner'],
  ['aws', 'gcp', 'hetzner'],
  ['aws', 'aws-2', 'gcp', 'hetzner'],
  ['aws', 'gcp'],
] as const;

function setUp(stage: Stage, mutation: (typeof MUTANTS)[string] | Record<string, never>): Play {
  const random = stage.random('fleet');
  const manifest = testManifest(pick(random, FLEETS));
  const isBeyond = random.fraction() < 0.1;
  const isNew = random.fraction() < 0.1;
  const relays = random.fraction() < 0.2 ? 2 : 1;
  let crashChance = random.fraction() < 0.5 ? between(random, 0.0002, 0.002) : 0;
  const key = { id: 'AAAAAA', key: random.bytes(32) };
  const ring: KeyRing = { keys: new Map([[key.id, key]]), minting: key, pepper: random.bytes(32) };
  const network = createNetwork(stage, stage.random('network'), {
    latencyMs: [between(random, 0.2, 10), between(random, 11, 90)],
    lossChance: random.fraction() < 0.5 ? 0 : random.fraction() * 0.05,
    doubleChance: random.fraction() < 0.5 ? 0 : random.fraction() * 0.05,
    isOrdered: random.fraction() < 0.5,
  });
  const checker = createChecker(stage, {
    sites: manifest.sites,
    copiesNeeded: COPIES_NEEDED,
    lostMs: network.lostMs,
  });
  const sites = manifest.sites.map((own) =>
    createSite(stage, {
      manifest,
      own,
      ring,
      network,
      relays,
      mutation,
      isNew,
      crashChance: () => crashChance,
      onDurable: (effects) => checker.durable(own.name, effects),
      onWiped: () => checker.wiped(own.name),
    }),
  );
  const deliveryChecker: Checker = {
    ...checker,
    delivering: (...delivery) => {
      noteTouch({ sites, checker, relays, network });
      checker.delivering(...delivery);
    },
  };
  const recipients = Array.from({ length: 1 + Math.floor(random.fraction() * 3) }, (_, index) =>
    createRecipient(stage, {
      name: `recipient ${index + 1}`,
      sites,
      network,
      checker: deliveryChecker,
      sockets: random.fraction() < 0.5 ? 1 : 2,
      createMemory: mutation.createMemory ?? (() => createSeen(IDS_MAX)),
    }),
  );
  const everyMs = between(random, 150, 900);
  const faultsForMs = between(random, 8000, 16_000);
  return {
    sites,
    network,
    checker,
    recipients,
    relays,
    partitions: recipients.map(({ mailbox }) => partitionOf(mailboxTagOf(mailbox, ring.pepper))),
    startSenders: () => createSenders(stage, { sites, network, checker, ring, recipients, everyMs }),
    suffer: async () => {
      await bringFaults(stage, { sites, network, checker, isBeyond }, stage.time.nowMs() + faultsForMs);
      crashChance = 0;
      network.mend();
      network.calm();
      for (const site of sites) {
        site.disk.mend();
        site.skew(0);
      }
    },
  };
}

async function runThrough(stage: Stage, play: Play): Promise<void> {
  const { time, trace } = stage;
  watchMemory(stage, play);
  watchTouch(stage, play);
  await time.sleep(1500);
  const senders = play.startSenders();
  await play.suffer();
  trace.note('world', 'everything is mended');
  for (const recipient of play.recipients) recipient.steady();
  senders.stop();
  const mendedMs = time.nowMs();
  void checkOutboxes(stage, play);
  void checkCopies(stage, play);
  let why = 'it was not looked at';
  while (time.nowMs() - mendedMs < MENDED_WITHIN_MS) {
    await time.sleep(STEP_MS);
    // The outboxes are looked at in between.
    if (time.nowMs() - mendedMs < SETTLED_AFTER_MS) continue;
    why = senders.underWay() > 0 ? 'senders are not done' : await whatDiffers(stage, play);
    if (why === '') break;
  }
  if (why === '') trace.note('world', 'every site holds the same');
  else play.checker.violate(`${MENDED_WITHIN_MS / 1000} s after the last fault ${why}`);
  play.checker.restored();
  play.checker.finish();
}

/** Outboxes need so long at most once everything runs: links come back, and what a clock dated ahead is due. */
const OWED_WITHIN_MS = 15_000;

/**
 * Where nothing was destroyed and no clock was wrong, outboxes alone bring everything everywhere: nothing is left for
 * the comparison of sites to find.
 */
async function checkOutboxes({ time, figures }: Stage, { sites, checker, relays }: Play): Promise<void> {
  if (figures['stores wiped'] > 0 || figures['clocks skewed'] > 0) return;
  const runs = ({ isOn, disk, live }: SimulatedSite): boolean =>
    isOn() && disk.isWell() && live().length === relays;
  while (!sites.every(runs)) await time.sleep(STEP_MS);
  await time.sleep(OWED_WITHIN_MS);
  checker.spread(OWED_WITHIN_MS);
}

/**
 * A provider whose storage is gone for long is not waited for: what had a copy there and one elsewhere has two again,
 * because the receiver of a copy owes it onward.
 */
async function checkCopies({ time, figures }: Stage, { sites, checker }: Play): Promise<void> {
  if (figures['clocks skewed'] > 0 || figures['forfeited beyond the promise'] > 0) return;
  const well = (): readonly SimulatedSite[] =>
    sites.filter(({ isOn, disk, live }) => isOn() && disk.isWell() && live().length > 0);
  await time.sleep(STEP_MS);
  const before = well();
  await time.sleep(OWED_WITHIN_MS);
  const throughout = well().filter((site) => before.includes(site));
  const isEnough = new Set(throughout.map(({ provider }) => provider)).size >= COPIES_NEEDED;
  // The others must be gone since before the last fault ended, or what only they hold is still on its way.
  if (isEnough && throughout.length === before.length) checker.doubled();
}

/** Empty when every site is whole and holds the same; else what is not so. */
async function whatDiffers({ time }: Stage, { sites, partitions, checker }: Play): Promise<string> {
  if (!(await isRestored(sites, 0))) {
    return `somebody is not whole or owes something: ${await describeDebts(sites)}`;
  }
  for (const { name, live } of sites) {
    const reasons = live().flatMap(({ relay }) => relay.readiness.reasons());
    if (reasons.length > 0) return `${name} is not ready: ${reasons.join(', ')}`;
  }
  const missing = checker.missing();
  if (missing.length > 0) return `not delivered: ${missing.join(', ')}`;
  const wallMs = time.clockOf().wallMs();
  const held = await Promise.all(sites.map((site) => holdingsOf(site, partitions, wallMs)));
  const all = new Set(held.flatMap((some) => [...some]));
  for (const [index, some] of held.entries()) {
    const lacking = [...all].filter((each) => !some.has(each));
    if (lacking.length > 0)
      return `${sites[index]?.name} lacks ${lacking.length} of ${all.size}: ${lacking.join('; ')}`;
  }
  return '';
}

async function describeDebts(sites: readonly SimulatedSite[]): Promise<string> {
  const said: string[] = [];
  for (const { name, disk, live } of sites) {
    const debts = await disk
      .contents()
      .debts(sites.map((site) => site.name).filter((other) => other !== name));
    for (const [to, { count }] of debts) if (count > 0) said.push(`${name} owes ${count} to ${to}`);
    if (!live().every(({ relay }) => !relay.replication.isRecovering())) said.push(`${name} is recovering`);
    if (!disk.isWell()) said.push(`the store of ${name} is away`);
  }
  return said.join(', ');
}

/** Everything unexpired at a site: acks, and messages. */
async function holdingsOf(
  { disk }: SimulatedSite,
  partitions: readonly Partition[],
  wallMs: number,
): Promise<ReadonlySet<string>> {
  const store = disk.contents();
  const held = new Set<string>();
  for (const partition of partitions) {
    const { references } = await store.list(partition, '', 100_000);
    for (const [at, found] of (await store.load(references)).entries()) {
      const reference = references[at];
      // Until when a store remembers an ack is in the store; what the ack itself says of it only counts as a beginning.
      if (found === undefined || reference === undefined || (reference.untilMs ?? 0) <= wallMs) continue;
      held.add(`${reference.kind} ${reference.id}`);
    }
  }
  return held;
}

/** Who can hear whom, as somebody sees it who sees everything: what a site may be blamed for not knowing follows from it. */
function noteTouch({
  sites,
  checker,
  relays,
  network,
}: Pick<Play, 'sites' | 'checker' | 'relays' | 'network'>): void {
  const isWell = ({ isOn, disk, live }: SimulatedSite): boolean =>
    isOn() && disk.isWell() && live().length === relays;
  for (const [index, one] of sites.entries()) {
    for (const other of sites.slice(index + 1)) {
      const isOpen = network.isOpen(one.name, other.name) && network.isOpen(other.name, one.name);
      checker.touching(one.name, other.name, isOpen && isWell(one) && isWell(other));
    }
  }
}

function watchTouch({ time }: Stage, play: Play): void {
  const look = (): void => {
    noteTouch(play);
    time.after(TOUCH_EVERY_MS, look);
  };
  look();
}

/** What a relay holds in memory is bounded, also while nobody answers it. */
function watchMemory({ time }: Stage, { sites, checker }: Play): void {
  const look = (): void => {
    for (const { live } of sites) {
      for (const { process } of live()) {
        if (process.timers() > TIMERS_MAX)
          checker.violate(`${process.name} waits for ${process.timers()} things`);
      }
    }
    time.after(STEP_MS, look);
  };
  look();
}
