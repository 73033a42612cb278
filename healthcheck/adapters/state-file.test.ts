/**
 * What is written is read back whole; what is not ours is not believed.
 */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createStateFile, readState, type SavedState, writeState } from './state-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'state-file-'));
});
afterEach(async () => rm(directory, { recursive: true }));

const state: SavedState = {
  bootEpoch: 5,
  generation: 3,
  targets: ['aws/ipv4', 'gcp-2/ipv6'],
  failOpen: ['ipv6'],
  lastWithdrawal: { provider: 'aws', atWallMs: 1_800_000_000_000 },
  savedAtWallMs: 1_800_000_000_500,
};

test('a first start finds nothing', async () => {
  expect(await readState(directory)).toStrictEqual({ ok: true, value: undefined });
});

test('what was written is read back', async () => {
  for (const saved of [state, { ...state, lastWithdrawal: null }]) {
    await writeState(directory, saved);
    expect(await readState(directory)).toStrictEqual({ ok: true, value: saved });
  }
  expect(await readdir(directory)).toStrictEqual(['vantage-state.json']);
});

test.each([
  ['nothing', ''],
  ['half of it', JSON.stringify(state).slice(0, 40)],
  ['a list', '[]'],
  ['another type', JSON.stringify({ ...state, generation: '3' })],
  ['a target of no family', JSON.stringify({ ...state, targets: ['aws/ipv5'] })],
  ['half a withdrawal', JSON.stringify({ ...state, lastWithdrawal: { provider: 'aws' } })],
  ['no withdrawal at all', JSON.stringify({ ...state, lastWithdrawal: undefined })],
])('a file with %s is unreadable', async (_, content) => {
  await writeFile(join(directory, 'vantage-state.json'), content);
  expect(await readState(directory)).toStrictEqual({ ok: false, fault: 'unreadable' });
});

test('of many states that wait, the newest is on disk in the end', async () => {
  const file = createStateFile(directory, () => expect.unreachable('a write failed'));
  for (let generation = 1; generation <= 50; generation += 1) file.save({ ...state, generation });
  await file.settled();
  expect(await readState(directory)).toStrictEqual({ ok: true, value: { ...state, generation: 50 } });
});

test('a write that fails is told, and the next one is tried', async () => {
  let failures = 0;
  const file = createStateFile(join(directory, 'missing'), () => {
    failures += 1;
  });
  file.save(state);
  await file.settled();
  file.save(state);
  await file.settled();
  expect(failures).toBe(2);
});
