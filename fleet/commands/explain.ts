/**
 * `fleet explain`: why DNS changed its answer. Reads a vantage's decision log, checks its chain and the signatures
 * of the votes in it, decides again with the same core, and says whether the same came out.
 */
import { readFile } from 'node:fs/promises';
import { type LogRecord, readLog } from '../../healthcheck/core/decision-log.ts';
import type { Vote } from '../../healthcheck/core/vote.ts';
import { type Explanation, explain } from '../../healthcheck/explain.ts';
import { ok } from '../../system/result.ts';
import { decisionLog } from '../operator/decision-pages.ts';
import { nameserversFor } from '../operator/handing-out.ts';
import { ON_CALL_FLAGS, onCallOf } from '../operator/on-call.ts';
import { directoryPath, needManifest } from '../operator/workspace.ts';
import {
  type CommandIo,
  DONE,
  misused,
  NOT_WELL,
  type OperatorCommand,
  type Outcome,
  operatorCommand,
  UNREACHABLE,
  type Words,
} from './command.ts';

export const explainCommand: OperatorCommand = operatorCommand({
  help: `  explain [N|last] (--file LOG | --from SITE [--as NAME] [--at ADDRESS:PORT] [--dir DIR]) [--json]
      Why the answer changed: the votes, what they add up to, and whether the same core decides the same again.
      LOG is decisions.jsonl of a vantage's state directory; with --from it is fetched from SITE's nameserver.
      Exit code 1 when it is not reproduced.`,
  flags: { ...ON_CALL_FLAGS, file: 'value', from: 'value', at: 'value', json: 'alone' },
  words: { min: 0, max: 1, what: 'the number of a record, or last' },
  run: async (given, io) => {
    const [which = 'last'] = given.positional;
    if (!/^(last|[1-9]\d{0,14})$/.test(which)) {
      return misused(`explain takes the number of a record, or last; got ${which}.`);
    }
    const log = await logOf(given, io);
    if (!log.ok) return log;
    const records = readLog(log.value.lines);
    if (!records.ok) return notWell(`${log.value.name}: ${records.fault}.`);
    return await tell(records.value, which === 'last' ? 'last' : Number(which), given, io);
  },
});

async function tell(
  records: readonly LogRecord[],
  n: number | 'last',
  given: Words,
  io: CommandIo,
): Promise<Outcome<number>> {
  const explanation = await explain(records, n);
  if (!explanation.ok) return notWell(explanation.fault);
  if (given.flags.has('json')) io.print(asJson(explanation.value));
  else for (const line of asText(explanation.value)) io.print(line);
  return ok(explanation.value.reproduced === false ? NOT_WELL : DONE);
}

interface Log {
  readonly name: string;
  readonly lines: readonly string[];
}

async function logOf(given: Words, io: CommandIo): Promise<Outcome<Log>> {
  const file = given.flags.get('file');
  const from = given.flags.get('from');
  if ((file === undefined) === (from === undefined)) {
    return misused('explain needs --file LOG, a decisions.jsonl, or --from SITE.');
  }
  if (from !== undefined) return await logFrom(from, given, io);
  const name = file ?? '';
  const content = await readFile(name, 'utf8').catch(() => undefined);
  return content === undefined
    ? misused(`--file: ${JSON.stringify(name)} cannot be read.`)
    : ok({ name, lines: content.split('\n').filter((line) => line !== '') });
}

async function logFrom(site: string, given: Words, io: CommandIo): Promise<Outcome<Log>> {
  const signed = await needManifest(directoryPath(given));
  if (!signed.ok) return signed;
  const nameservers = nameserversFor(given, signed.value.manifest);
  if (!nameservers.ok) return nameservers;
  const nameserver = nameservers.value.find(({ name }) => name === site);
  if (nameserver === undefined) {
    const names = nameservers.value.map(({ name }) => name).join(', ');
    return misused(`--from: there is no nameserver of ${JSON.stringify(site)}; there are ${names}.`);
  }
  const onCall = await onCallOf(given, io);
  if (!onCall.ok) return onCall;
  const lines = await decisionLog(nameserver, onCall.value.identity);
  return lines.ok
    ? ok({ name: site, lines: lines.value })
    : { ok: false, fault: { code: UNREACHABLE, lines: [`${site}: ${lines.fault}.`] } };
}

function notWell(sentence: string): Outcome<number> {
  return { ok: false, fault: { code: NOT_WELL, lines: [sentence] } };
}

function asJson({ healths, ...explanation }: Explanation): string {
  return JSON.stringify({ ...explanation, healths: Object.fromEntries(healths) });
}

function asText(explanation: Explanation): readonly string[] {
  const { n, atWallMs, vantage, reason, previous, answer, votes, healths, deferred } = explanation;
  const targets = [...healths.keys()];
  const width = Math.max(...targets.map((target) => target.length));
  return [
    `record ${n}, ${new Date(atWallMs).toISOString()}, by ${vantage}, manifest ${explanation.manifestVersion}: ${reason}`,
    `  generation ${previous.generation} → ${answer.generation}, TTL ${explanation.ttlSeconds} s`,
    `  before: ${previous.targets.join(' ') || 'nothing'}`,
    `  after:  ${answer.targets.join(' ')}`,
    ...(answer.failOpen.length > 0
      ? [`  FAIL OPEN for ${answer.failOpen.join(' and ')}: every target is down`]
      : []),
    ...(explanation.isolated ? ['  the vantage was isolated: no measurement could change anything'] : []),
    '',
    `  ${'target'.padEnd(width)}  ${'health'.padEnd(8)} votes (signatures verified; the first is its own)`,
    ...targets.map(
      (target) =>
        `  ${target.padEnd(width)}  ${(healths.get(target) ?? '').padEnd(8)} ${votes.map((vote) => votedOn(target, vote)).join(', ')}`,
    ),
    ...deferred.map(({ target, reason: why }) => `  ${target} stays for now: ${why}`),
    '',
    explanation.reproduced === null
      ? '  Nothing was decided here: the vantage began with this answer.'
      : explanation.reproduced
        ? '  Decided again by the same core: the same answer.'
        : '  Decided again by the same core: ANOTHER ANSWER. The log or the program was changed.',
  ];
}

function votedOn(target: string, vote: Vote): string {
  const entry = vote.verdicts.find(({ site, family }) => `${site}/${family}` === target);
  const strained = entry?.strained === true ? ', strained' : '';
  return `${vote.vantage}: ${vote.isolated ? 'isolated' : `${entry?.verdict ?? 'nothing'}${strained}`}`;
}
