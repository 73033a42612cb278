/**
 * The clients of one population of a drill, in a process of their own: nothing is shared with the drill but the
 * ledger that they append to. It reads its plan and then commands from standard input, and ends with it.
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../system/clock.ts';
import { type Random, seededRandom, systemRandom } from '../../system/random.ts';
import { createKind, createSend, type Kind } from './client-kinds.ts';
import { type ClientPlan, type ClientProgress, NO_PROGRESS } from './client-plan.ts';
import { type LedgerWriter, openLedger } from './ledger.ts';
import { runRecipient } from './recipient-loop.ts';
import { runSender } from './sender-loop.ts';

const PROGRESS_EVERY_MS = 250;

interface Crew {
  readonly plan: ClientPlan;
  readonly ledger: LedgerWriter;
  readonly counts: { -readonly [Name in keyof ClientProgress]: number };
  /** Phases and first addressees; the seed repeats them. */
  readonly chance: Random;
  readonly kinds: Kind[];
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const first = await lines.next();
if (first.done !== true) await run(JSON.parse(first.value) as ClientPlan);

async function run(plan: ClientPlan): Promise<void> {
  const crew: Crew = {
    plan,
    ledger: openLedger(plan.ledger),
    counts: { ...NO_PROGRESS },
    chance: seededRandom(plan.seed),
    kinds: [],
  };
  const sending = new AbortController();
  const receiving = new AbortController();
  const recipients = startRecipients(crew, receiving.signal);
  let senders: readonly Promise<void>[] = [];
  const tell = (): void => void process.stdout.write(`${JSON.stringify(crew.counts)}\n`);
  const progress = setInterval(tell, PROGRESS_EVERY_MS);
  for await (const line of { [Symbol.asyncIterator]: () => lines }) {
    if (line === 'start') senders = startSenders(crew, sending.signal);
    if (line === 'stop') sending.abort();
    if (line === 'finish') break;
  }
  sending.abort();
  await Promise.all(senders);
  receiving.abort();
  await Promise.all(recipients);
  clearInterval(progress);
  tell();
  for (const kind of crew.kinds) kind.transport.close();
  crew.ledger.close();
  process.stdin.destroy();
}

function hire(crew: Crew): Kind {
  const kind = createKind(crew.plan, crew.kinds.length, systemRandom);
  crew.kinds.push(kind);
  return kind;
}

function startRecipients(crew: Crew, signal: AbortSignal): readonly Promise<void>[] {
  const { plan, counts } = crew;
  return plan.mailboxes.map(async (planned, index) => {
    const kind = hire(crew);
    const origin = plan.sites.find((site) => site.name === planned.through)?.origin;
    await runRecipient(
      {
        name: `${plan.population}-recipient-${index + 1}`,
        planned,
        kind,
        fleet:
          origin === undefined
            ? kind.fleet
            : { canonicalOrigin: origin, sites: [{ origin, provider: 'any' }] },
        clock: systemClock,
        random: systemRandom,
        ledger: crew.ledger,
        onDelivered: () => void (counts.delivered += 1),
        onLinked: (linked) => void (counts.linked += linked ? 1 : -1),
        onEmpty: () => void (counts.emptied += 1),
      },
      signal,
    );
  });
}

function startSenders(crew: Crew, signal: AbortSignal): readonly Promise<void>[] {
  const { plan, counts, chance } = crew;
  return Array.from({ length: plan.senders }, async (_, index) => {
    await runSender(
      {
        name: `${plan.population}-sender-${index + 1}`,
        runId: plan.runId,
        payloadBytes: plan.payloadBytes,
        clock: systemClock,
        ledger: crew.ledger,
        send: createSend(plan, hire(crew), systemRandom),
        addressees: plan.addressees,
        first: Math.floor(chance.fraction() * plan.addressees.length),
        intervalMs: plan.intervalMs,
        phaseMs: chance.fraction() * plan.intervalMs,
        onBegin: () => {
          counts.attempted += 1;
          counts.open += 1;
        },
        onEnd: ({ kind }, isRead) => {
          counts.open -= 1;
          if (kind !== 'accepted') counts.failed += 1;
          else counts.accepted += 1;
          if (kind === 'accepted' && isRead) counts.acceptedForReaders += 1;
        },
      },
      signal,
    );
  });
}
