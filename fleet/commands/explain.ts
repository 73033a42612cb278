/**
 * `fleet explain`: why DNS changed its answer. Reads a vantage's decision log, checks its chain and the signatures
 * of the votes in it, decides again with the same core, and says whether the same came out.
 */
import { readFile } from 'node:fs/promises';
import { readLog } from '../../healthcheck/core/decision-log.ts';
import type { Vote } from '../../healthcheck/core/vote.ts';
import { type Explanation, explain } from '../../healthcheck/explain.ts';
import { type CommandIo, DONE, NOT_WELL, type OperatorCommand, readWords, WRONG_USAGE } from './command.ts';

export const explainCommand: OperatorCommand = {
  help: `  explain --file LOG [N|last] [--json]
      Why the answer changed: the votes, what they add up to, and whether the same core decides the same again.
      LOG is decisions.jsonl of a vantage's state directory. Exit code 1 when it is not reproduced.`,
  run: async (words, io) => {
    const read = readWords(words, { file: 'value', json: 'alone' });
    if (!read.ok) return refuse(read.fault, io);
    const { flags, positional } = read.value;
    const file = flags.get('file');
    const [which = 'last'] = positional;
    if (file === undefined) return refuse('explain needs --file LOG, a decisions.jsonl.', io);
    if (positional.length > 1 || !/^(last|[1-9]\d{0,14})$/.test(which)) {
      return refuse(`explain takes the number of a record, or last; got ${positional.join(' ')}.`, io);
    }
    const content = await readFile(file, 'utf8').catch(() => undefined);
    if (content === undefined) return refuse(`--file: ${JSON.stringify(file)} cannot be read.`, io);
    const records = readLog(content.split('\n').filter((line) => line !== ''));
    if (!records.ok) return say(`${file}: ${records.fault}.`, io);
    const explanation = await explain(records.value, which === 'last' ? 'last' : Number(which));
    if (!explanation.ok) return say(explanation.fault, io);
    if (flags.has('json')) io.print(asJson(explanation.value));
    else for (const line of asText(explanation.value)) io.print(line);
    return explanation.value.reproduced === false ? NOT_WELL : DONE;
  },
};

function refuse(sentence: string, io: CommandIo): number {
  io.complain(sentence);
  return WRONG_USAGE;
}

function say(sentence: string, io: CommandIo): number {
  io.complain(sentence);
  return NOT_WELL;
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
  return `${vote.vantage}: ${vote.isolated ? 'isolated' : (entry?.verdict ?? 'nothing')}`;
}
