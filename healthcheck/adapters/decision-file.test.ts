/**
 * The decision log on a real disk: it goes on after a restart, it is bounded, and it notices what happened to it.
 */
import { spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import { type LogEntry, readLog } from '../core/decision-log.ts';
import { answerWithAll } from '../core/failover.ts';
import { type DecisionLogFault, openDecisionFile, readDecisionLines } from './decision-file.ts';

const answer = answerWithAll(testManifest(['aws', 'gcp', 'hetzner']), 1);
const manifest: LogEntry = { kind: 'manifest', signed: 'a.b.c', key: 'k' };
const change: LogEntry = {
  kind: 'answer',
  vantage: 'aws',
  reason: 'withdrawn',
  previous: answer,
  answer,
  ttlSeconds: 5,
  isolated: false,
  nowMs: 1,
  own: '{}',
  votes: [],
};

let directory: string;
let faults: DecisionLogFault[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'decisions-'));
  faults = [];
});
afterEach(async () => rm(directory, { recursive: true, force: true }));

/** One life of the process: opens the log, writes, and ends. */
async function life(entries: readonly LogEntry[], fileBytesMax = 1_000_000): Promise<void> {
  const log = await openDecisionFile({ directory, fileBytesMax, faulted: (fault) => faults.push(fault) });
  for (const entry of entries) log.append(entry, 1000);
  await log.settled();
}

async function numbers(): Promise<readonly number[] | string> {
  const read = readLog(await readDecisionLines(directory));
  return read.ok ? read.value.map(({ n }) => n) : read.fault;
}

test('several lives make one chain', async () => {
  await life([manifest, change]);
  await life([manifest, change, change]);
  expect(await numbers()).toStrictEqual([1, 2, 3, 4, 5]);
  expect(faults).toStrictEqual([]);
});

test('a line that finds no room on the disk leaves no part of itself, and the next one follows', async () => {
  const program = `
    const { openDecisionFile } = await import(${JSON.stringify(join(import.meta.dirname, 'decision-file.ts'))});
    const faults = [];
    const options = { fileBytesMax: 1_000_000, faulted: (fault) => faults.push(fault) };
    const log = await openDecisionFile({ directory: ${JSON.stringify(directory)}, ...options });
    const entry = { kind: 'manifest', signed: 'a.b.c', key: 'k' };
    log.append(entry, 1000);
    log.append({ ...entry, signed: 'x'.repeat(5000) }, 1000);
    log.append(entry, 1000);
    await log.settled();
    console.log(faults.join());`;
  // A file may have four blocks of 512 bytes here, as on a disk that is full.
  const shell = 'ulimit -f 4; exec "$0" --input-type=module -e "$1"';
  const { stdout } = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' });
  expect(stdout).toBe('log_unwritable\n');
  expect(await numbers()).toStrictEqual([1, 2]);
});

test('it keeps two files at most, and each begins with the manifest of its time', async () => {
  await life([manifest, ...Array.from({ length: 40 }, () => change)], 2000);
  expect((await readdir(directory)).toSorted()).toStrictEqual(['decisions.1.jsonl', 'decisions.jsonl']);
  const read = readLog(await readDecisionLines(directory));
  expect(read.ok && read.value[0]?.kind).toBe('manifest');
  expect(read.ok && read.value.at(-1)?.n).toBeGreaterThan(40);
  await life([change], 2000);
  expect(faults).toStrictEqual([]);
});

test('a line that was being written when the process died is cut off, and the chain goes on', async () => {
  await life([manifest, change]);
  await appendFile(join(directory, 'decisions.jsonl'), '{"n":3,"previ');
  await life([change]);
  expect(faults).toStrictEqual(['log_torn']);
  expect(await numbers()).toStrictEqual([1, 2, 3]);
});

test('a log that was altered is set aside, loudly, and a new one begins', async () => {
  await life([manifest, change, change]);
  const path = join(directory, 'decisions.jsonl');
  await writeFile(path, (await readFile(path, 'utf8')).replace('withdrawn', 'returned'));
  await life([manifest]);
  expect(faults).toStrictEqual(['log_altered']);
  expect(await numbers()).toStrictEqual([1]);
  expect(await readFile(`${path}.altered`, 'utf8')).toContain('"n":3');
});

test('a directory that takes no file costs the log and nothing else', async () => {
  await rm(directory, { recursive: true });
  await life([change, change]);
  expect(faults).toStrictEqual(['log_unwritable', 'log_unwritable']);
});
