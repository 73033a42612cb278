/**
 * What was acked at another site must not be delivered here again, also before its tombstone has come and to a client that
 * has forgotten what it had. So the other sites are asked which acks bury what waits for a recipient that has just
 * connected. With tombstones at as many providers as accept a message, one who knows is met as soon as those that have not
 * answered are too few to have kept it to themselves; what is told is proved by the recipient's signature.
 *
 * Delivery comes first: where so many cannot be reached nobody waits, and otherwise for no longer than a small budget. A
 * crowd costs frames and not recipients: questions that come together travel together.
 */
import type { SiteEntry, SiteName } from '../../fleet/manifest/manifest.ts';
import type { SignedAck } from '../core/ack.ts';
import { wouldHaveMet } from '../core/copies.ts';
import type { Reference } from '../core/reference.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import { type Batcher, Congested, createBatcher } from './batcher.ts';
import { openForeignAcks, type PullingDeps } from './pulling.ts';

export interface BuriedElsewhereConfig {
  readonly own: Pick<SiteEntry, 'name'>;
  /** Of the manifest in force; the list changes with it. */
  readonly sites: readonly SiteEntry[];
  /** At how many providers a tombstone is to be met for certain. */
  readonly copiesNeeded: number;
}

export interface BuriedElsewhereDeps extends Omit<PullingDeps, 'expiryWallMs'> {
  readonly links: readonly PeerLink[];
}

/**
 * Asks which acks bury these messages, stores the acks and gives them. It never rejects, and none is an answer as well: what
 * could not be asked in time counts as not acked.
 */
export type BuriedElsewhere = (messages: readonly Reference[]) => Promise<readonly SignedAck[]>;

/**
 * Milliseconds. Fibre to the other side of the earth and back takes 200, so whoever is well answers in time, wherever it is.
 * Who hangs is noticed by its link within three seconds; until then recipients wait for so long at each read and no longer,
 * and only if all the others hang too.
 */
const BUDGET_MS = 300;
/** What comes too late for its question is stored all the same, milliseconds. */
const CALL_TIMEOUT_MS = 1000;
/**
 * Messages in one frame. Each may have an ack of its own, whose signature costs 0.1 ms at both ends; with eight calls under
 * way a site 30 ms away still answers for 60,000 messages a second.
 */
const FRAME_MESSAGES_MAX = 256;
const PACE_MS = 5;
/** Recipients and messages that may wait to be asked about; of a larger crowd the rest does without. */
const WAITING_MAX = 4096;
const WAITING_MESSAGES_MAX = 16_384;

/** What one site told. */
interface Told {
  readonly acks: readonly SignedAck[];
  /** Resolves when they are stored here, or could not be. */
  readonly stored: Promise<unknown>;
}
type Asker = Batcher<readonly Reference[], Told>;

/** Nobody is asked where the own store must know: at two providers, and at one. */
export function createBuriedElsewhere(
  config: BuriedElsewhereConfig,
  deps: BuriedElsewhereDeps,
): BuriedElsewhere {
  const { events, clock } = deps;
  const askers = new WeakMap<PeerLink, Asker>();
  const askerOf = (link: PeerLink): Asker => {
    const asker = askers.get(link) ?? createAsker(link, deps);
    askers.set(link, asker);
    return asker;
  };
  const isEnoughWithout = (unasked: readonly SiteEntry[]): boolean =>
    wouldHaveMet(unasked, config.copiesNeeded);

  return async (messages) => {
    const others = config.sites.filter(({ name }) => name !== config.own.name);
    if (messages.length === 0 || isEnoughWithout(others)) return [];
    const up = deps.links.filter((link) => link.isUp());
    const without = (sites: ReadonlySet<SiteName>): readonly SiteEntry[] =>
      others.filter(({ name }) => !sites.has(name));
    if (!isEnoughWithout(without(new Set(up.map(({ site }) => site))))) {
      events.burialsAsked('unreachable');
      return [];
    }
    const burials = new Set<SignedAck>();
    const asked = new Set(messages.map(nameOf));
    const answered = new Set<SiteName>();
    const storing: Promise<unknown>[] = [];
    const { promise, resolve } = Promise.withResolvers<'answered' | 'late' | 'crowd' | 'unreachable'>();
    const ask = async (link: PeerLink): Promise<void> => {
      const { acks, stored } = await askerOf(link).add(messages);
      for (const ack of acks) if (namesIn(ack).some((name) => asked.has(name))) burials.add(ack);
      answered.add(link.site);
      storing.push(stored);
      // Stored first, so that no later read of the own store finds what they bury.
      if (!isEnoughWithout(without(answered))) return;
      await Promise.all(storing);
      resolve('answered');
    };
    // An answer that is there already counts, although a relay that has much to do looks at its timers first.
    const cancel = clock.after(BUDGET_MS, () => setImmediate(() => resolve('late')));
    const askAll = async (): Promise<void> => {
      const results = await Promise.allSettled(up.map(ask));
      const isCrowded = results.some((one) => one.status === 'rejected' && one.reason instanceof Congested);
      // Says nothing where enough have answered by now.
      resolve(isCrowded ? 'crowd' : 'unreachable');
    };
    void askAll();
    events.burialsAsked(await promise);
    cancel();
    const buried = new Set([...burials].flatMap(namesIn));
    events.keptBack(messages.filter((message) => buried.has(nameOf(message))).length);
    return [...burials];
  };
}

function createAsker(link: PeerLink, deps: BuriedElsewhereDeps): Asker {
  return createBatcher<readonly Reference[], Told>({
    run: (questions) => askTogether(link, questions, deps),
    callsMax: 8,
    itemsMax: FRAME_MESSAGES_MAX,
    sizeOf: (messages) => messages.length,
    bytesMax: FRAME_MESSAGES_MAX,
    waitingMax: WAITING_MAX,
    waitingBytesMax: WAITING_MESSAGES_MAX,
    pace: { ms: PACE_MS, clock: deps.clock },
  });
}

async function askTogether(
  link: PeerLink,
  questions: readonly (readonly Reference[])[],
  deps: BuriedElsewhereDeps,
): Promise<readonly (Told | Error)[]> {
  const reply = await link.call({ type: 'buried', references: questions.flat() }, CALL_TIMEOUT_MS);
  // A release that does not know the question answers something else.
  if (reply.type !== 'tombstones') throw new PeerUnreachable(`buried was answered by ${reply.type}`);
  const acks = openForeignAcks(reply.acks, deps);
  // They are owed to nobody: others ask or compare for themselves.
  const burials = acks.map((ack) => ({ ack, owedTo: [] }));
  const stored =
    acks.length === 0
      ? Promise.resolve()
      : deps.store.bury(burials, deps.clock.wallMs()).catch(() => undefined);
  let end = 0;
  return questions.map((messages) => {
    end += messages.length;
    return end <= reply.served ? { acks, stored } : new PeerUnreachable(`${link.site} answered in part`);
  });
}

function namesIn({ mailbox, ids }: SignedAck): readonly string[] {
  return ids.map((id) => nameOf({ mailbox, id }));
}

function nameOf({ mailbox, id }: Pick<Reference, 'mailbox' | 'id'>): string {
  return `${mailbox} ${id}`;
}
