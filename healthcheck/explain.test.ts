/**
 * What was decided is decided again, and a log or a program that was changed does not get away with it.
 */

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, importPKCS8 } from 'jose';
import { beforeAll, expect, test } from 'vitest';
import { makeVoteKey } from '../fleet/certificates.ts';
import { explainCommand } from '../fleet/commands/explain.ts';
import { type Manifest } from '../fleet/manifest/manifest.ts';
import { signManifest } from '../fleet/manifest/signed.ts';
import { createLog } from '../system/log.ts';
import { createMetrics } from '../system/metrics.ts';
import { pinOf } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
import { testManifest } from '../test/support/manifests.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { RULES } from './core/decision.ts';
import { entryFor, type LogEntry, lineAfter, NO_LINES, readLog } from './core/decision-log.ts';
import { answerWithAll } from './core/failover.ts';
import { signVote } from './core/vote.ts';
import { createEvents } from './events.ts';
import { explain } from './explain.ts';
import { createJudgement } from './judgement.ts';

const operators = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const voteKeys = new Map<string, CryptoKey>();
let manifest: Manifest;
let lines: readonly string[];

/** The log of aws after gcp died and hetzner and aws saw it. */
beforeAll(async () => {
  const base = testManifest(['aws', 'gcp', 'hetzner']);
  const sites = await Promise.all(
    base.sites.map(async (site) => {
      const { keyPem, publicKey } = makeVoteKey();
      voteKeys.set(site.name, await importPKCS8(keyPem, 'EdDSA'));
      const pin = (what: string): string => pinOf(new TextEncoder().encode(`${what} ${site.name}`));
      return {
        ...site,
        relay: { ...site.relay, pins: [pin('relay')] },
        vantage: { ...site.vantage, pins: [pin('vantage')], voteKey: publicKey },
      };
    }),
  );
  manifest = { ...base, sites };
  const clock = createManualClock();
  const log = createLog({ clock, base: {}, level: 'error', write: () => undefined });
  const entries: { readonly entry: LogEntry; readonly atWallMs: number }[] = [
    {
      entry: { kind: 'manifest', signed: await signManifest(manifest, operators), key: operators.x ?? '' },
      atWallMs: clock.wallMs(),
    },
  ];
  const judgement = createJudgement({
    manifest,
    self: 'aws',
    rules: RULES,
    clock,
    events: createEvents(log, createMetrics('vantage_'), clock),
    serve: () => undefined,
    stanceChanged: () => undefined,
    decided: ({ circumstances, signedVotes, ...change }) =>
      entries.push({ entry: entryFor(change, circumstances, signedVotes), atWallMs: circumstances.wallMs }),
  });
  judgement.begin(answerWithAll(manifest, 1), 'all_sites');
  for (let turn = 1; turn <= 30; turn += 1) {
    clock.advance(manifest.health.probeIntervalMs);
    for (const site of manifest.sites) {
      judgement.observe({ site: site.name, family: 'ipv4' }, site.name !== 'gcp' || turn < 20);
    }
    const vote = { ...judgement.stance(), vantage: 'hetzner', isolated: false, bootEpoch: 1, sequence: turn };
    const key = voteKeys.get('hetzner');
    if (key === undefined) throw new Error('no key');
    judgement.receive(vote, await signVote(vote, key));
  }
  let tip = NO_LINES;
  lines = entries.map(({ entry, atWallMs }) => {
    const next = lineAfter(tip, entry, atWallMs);
    tip = next.tip;
    return next.line;
  });
});

test('the last change is explained by its votes and decided again', async () => {
  const records = readLog(lines);
  const explained = records.ok ? await explain(records.value, 'last') : expect.unreachable(records.fault);
  if (!explained.ok) throw new Error(explained.fault);
  expect(explained.value).toMatchObject({
    vantage: 'aws',
    reason: 'withdrawn',
    reproduced: true,
    previous: { targets: ['aws/ipv4', 'gcp/ipv4', 'hetzner/ipv4'] },
    answer: { targets: ['aws/ipv4', 'hetzner/ipv4'] },
  });
  expect(explained.value.healths.get('gcp/ipv4')).toBe('down');
  expect(explained.value.votes.map(({ vantage }) => vantage)).toStrictEqual(['aws', 'hetzner']);
});

test('a start is no decision', async () => {
  const records = readLog(lines);
  const explained = records.ok ? await explain(records.value, 2) : expect.unreachable(records.fault);
  expect(explained).toMatchObject({ ok: true, value: { reason: 'cold_start', reproduced: null } });
});

/** The log with its last record changed, and the chain made good again, as somebody with the disk could. */
function forged(change: (entry: Extract<LogEntry, { kind: 'answer' }>) => LogEntry): readonly string[] {
  const records = readLog(lines);
  if (!records.ok) throw new Error(records.fault);
  let tip = NO_LINES;
  return records.value.map(({ n, previousLine, atWallMs, ...entry }, index) => {
    const isLast = index === records.value.length - 1 && previousLine !== '' && n > 0;
    const next = lineAfter(tip, isLast && entry.kind === 'answer' ? change(entry) : entry, atWallMs);
    tip = next.tip;
    return next.line;
  });
}

test('another answer than the votes give is not reproduced', async () => {
  const records = readLog(
    forged((entry) => ({ ...entry, answer: { ...entry.answer, targets: ['gcp/ipv4'] } })),
  );
  const explained = records.ok ? await explain(records.value, 'last') : expect.unreachable(records.fault);
  expect(explained).toMatchObject({ ok: true, value: { reproduced: false } });
});

test('a vote that nobody of the fleet signed is refused', async () => {
  const records = readLog(
    forged((entry) => ({ ...entry, votes: entry.votes.map((vote) => `${vote.slice(0, -6)}AAAAAA`) })),
  );
  const explained = records.ok ? await explain(records.value, 'last') : expect.unreachable(records.fault);
  expect(explained).toMatchObject({ ok: false, fault: expect.stringContaining('not signed by a vantage') });
});

test('the command says it in words, and ends with 1 when it is not reproduced', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'explain-'));
  try {
    const said: string[] = [];
    const io = {
      print: (line: string) => said.push(line),
      complain: (line: string) => said.push(line),
      clock: createManualClock(),
      random: systemRandom,
      terminal: undefined,
      environment: {},
    };
    const run = async (content: readonly string[], ...words: readonly string[]): Promise<number> => {
      const file = join(directory, 'decisions.jsonl');
      await writeFile(file, content.map((line) => `${line}\n`).join(''));
      return explainCommand.run([...words, '--file', file], io);
    };
    expect(await run(lines, 'last')).toBe(0);
    expect(said.join('\n')).toMatch(
      /by aws, manifest 7: withdrawn[\s\S]*gcp\/ipv4 +down +aws: down, hetzner: down/,
    );
    expect(said.at(-1)).toContain('the same answer');
    const forgery = forged((entry) => ({ ...entry, answer: { ...entry.answer, targets: ['gcp/ipv4'] } }));
    expect(await run(forgery)).toBe(1);
    expect(said.at(-1)).toContain('ANOTHER ANSWER');
    expect(await run([...lines.slice(0, 1), ...lines.slice(2)])).toBe(1);
    expect(said.at(-1)).toContain('the log was altered');
    expect(await run(lines, '99')).toBe(1);
    expect(await run(lines, 'first')).toBe(64);
    expect(await explainCommand.run(['--fil', 'x'], io)).toBe(64);
    expect(said.at(-1)).toBe('There is no --fil; did you mean file?');
  } finally {
    await rm(directory, { recursive: true });
  }
});
