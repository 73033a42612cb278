/**
 * What a vantage begins with.
 */
import { expect, test } from 'vitest';
import { testManifest } from '../test/support/manifests.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import type { SavedState } from './adapters/state-file.ts';
import { beginningFrom, beginToAnswer, savedFrom } from './cold-start.ts';
import { type Answer, answerWithAll } from './core/failover.ts';
import type { Judgement } from './judgement.ts';

const manifest = testManifest(['aws', 'gcp', 'hetzner']);
const without: Answer = {
  generation: 8,
  targets: ['gcp/ipv4', 'hetzner/ipv4'],
  failOpen: [],
  lastWithdrawal: { provider: 'aws', atMs: 0 },
  warming: [],
};

function savedAt(clock: ReturnType<typeof createManualClock>): SavedState {
  return savedFrom(without, 100, clock);
}

test('a first start begins with all sites', () => {
  const beginning = beginningFrom(undefined, manifest, createManualClock());
  expect(beginning).toMatchObject({ isRecent: false, answer: answerWithAll(manifest, 1) });
});

test('a recent answer is used again, with a generation above any that was served and not saved, and the withdrawal it rests on', () => {
  const clock = createManualClock();
  const saved = savedAt(clock);
  clock.advance(599_000);
  const { answer, isRecent } = beginningFrom(saved, manifest, clock);
  expect(isRecent).toBe(true);
  expect(answer).toStrictEqual({ ...without, generation: 12 });
});

test.each([
  ['an old answer', (saved: SavedState) => ({ ...saved, savedAtWallMs: saved.savedAtWallMs - 600_000 })],
  [
    'an answer from the future',
    (saved: SavedState) => ({ ...saved, savedAtWallMs: saved.savedAtWallMs + 1 }),
  ],
  [
    'an answer of sites that are gone',
    (saved: SavedState) => ({ ...saved, targets: ['azure/ipv4' as const] }),
  ],
])('%s is not used, but its generation and its withdrawal count', (_, change) => {
  const clock = createManualClock();
  const { answer, isRecent } = beginningFrom(change(savedAt(clock)), manifest, clock);
  expect(isRecent).toBe(false);
  expect(answer.targets).toStrictEqual(answerWithAll(manifest, 1).targets);
  expect(answer).toMatchObject({ generation: 12, lastWithdrawal: { provider: 'aws', atMs: 0 } });
});

test('the boot epoch grows even when the wall clock went back', () => {
  const clock = createManualClock();
  const saved = { ...savedAt(clock), bootEpoch: clock.wallMs() + 5_000_000 };
  const { bootEpoch, toSave } = beginningFrom(saved, manifest, clock);
  expect(bootEpoch).toBe(saved.bootEpoch + 1);
  expect(toSave).toStrictEqual({ ...saved, bootEpoch, generation: saved.generation + 4 });
});

/** Runs the beginning while time passes, with the providers heard from given moments on. */
async function begun(
  saved: SavedState | undefined,
  heardFromMs: Readonly<Record<string, number>>,
): Promise<{ readonly source: string; readonly atMs: number }> {
  const clock = createManualClock();
  const begins: { source: string; atMs: number }[] = [];
  const judgement: Pick<Judgement, 'begin' | 'providersHeard'> = {
    begin: (_, source) => begins.push({ source, atMs: clock.monotonicMs() }),
    providersHeard: () =>
      new Set(Object.keys(heardFromMs).filter((name) => (heardFromMs[name] ?? 0) <= clock.monotonicMs())),
  };
  const beginning = beginningFrom(saved, manifest, clock);
  const context = { manifest, self: 'aws', clock, stopped: new AbortController().signal };
  const running = beginToAnswer(judgement, beginning, context);
  for (let turn = 0; turn < 1000; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (begins.length > 0) break;
    clock.advance(25);
  }
  await running;
  return begins[0] ?? expect.unreachable('never began');
}

test('with a recent answer it begins at once', async () => {
  expect(await begun(savedAt(createManualClock()), {})).toStrictEqual({ source: 'persisted', atMs: 0 });
});

test('it begins as soon as all other providers have voted', async () => {
  expect(await begun(undefined, { gcp: 500, hetzner: 1000 })).toStrictEqual({ source: 'votes', atMs: 1000 });
});

test('it does not wait long for those who are silent', async () => {
  expect(await begun(undefined, { gcp: 500 })).toStrictEqual({ source: 'votes', atMs: 3000 });
  expect(await begun(undefined, {})).toStrictEqual({ source: 'all_sites', atMs: 3000 });
});
