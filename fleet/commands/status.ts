/**
 * `fleet status`: what every nameserver answers and believes, side by side, asked at the vantages' private ports.
 */
import type { VantageStatus } from '../../healthcheck/status.ts';
import { type Endpoint, endpoint } from '../../system/settings.ts';
import { askPrivate } from '../local/private-http.ts';
import { type CommandIo, DONE, NOT_WELL, type OperatorCommand, readWords, WRONG_USAGE } from './command.ts';

const TIMEOUT_MS = 2000;

interface Asked {
  readonly at: string;
  /** Undefined when there was no answer in time. */
  readonly status: VantageStatus | undefined;
}

export const statusCommand: OperatorCommand = {
  help: `  status --at ADDRESS:PORT[,ADDRESS:PORT...] [--json]
      What each nameserver answers and who says what of whom, from the private ports of the vantages.
      Exit code 1 when a vantage does not answer or is isolated, answers differ, or an answer fails open.`,
  run: async (words, io) => {
    const read = readWords(words, { at: 'value', json: 'alone' });
    if (!read.ok) return refuse(read.fault, io);
    const places = (read.value.flags.get('at') ?? '').split(',').filter((text) => text !== '');
    if (places.length === 0 || read.value.positional.length > 0) {
      return refuse('status needs --at ADDRESS:PORT, the private ports of one or more vantages.', io);
    }
    const { parse, expected } = endpoint();
    const unclear = places.find((text) => parse(text) === undefined);
    if (unclear !== undefined) return refuse(`--at: expected ${expected}, got ${unclear}.`, io);
    const asked = await Promise.all(places.map(async (at) => ({ at, status: await ask(parse(at)) })));
    if (read.value.flags.has('json')) io.print(JSON.stringify(asked));
    else for (const line of asTable(asked, io.clock.wallMs())) io.print(line);
    return isWell(asked) ? DONE : NOT_WELL;
  },
};

function refuse(sentence: string, io: CommandIo): number {
  io.complain(sentence);
  return WRONG_USAGE;
}

async function ask(at: Endpoint | undefined): Promise<VantageStatus | undefined> {
  if (at === undefined) return undefined;
  try {
    const { body } = await askPrivate(at.host, at.port, '/status', TIMEOUT_MS);
    return JSON.parse(body) as VantageStatus;
  } catch {
    return undefined;
  }
}

function isWell(asked: readonly Asked[]): boolean {
  const statuses = asked.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const answers = new Set(statuses.map(({ answer }) => answer?.targets.join()));
  return (
    statuses.length === asked.length &&
    answers.size === 1 &&
    statuses.every(({ answer, isolated }) => answer !== null && !answer.failOpen && !isolated)
  );
}

function asTable(asked: readonly Asked[], wallMs: number): readonly string[] {
  const statuses = asked.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const silent = asked.filter(({ status }) => status === undefined).map(({ at }) => `${at} does not answer`);
  const [first] = statuses;
  if (first === undefined) return silent;
  const nameservers = [
    ['vantage', 'manifest', 'generation', 'answer', 'TTL', 'notes'],
    ...statuses.map((status) => [
      status.site,
      String(status.manifestVersion),
      String(status.generation),
      status.answer?.sites.join(' ') ?? 'none yet',
      status.answer === null ? '' : `${status.answer.ttlSeconds} s`,
      notesOn(status, wallMs),
    ]),
  ];
  const matrix = [
    ['site', 'health', ...statuses.map(({ site }) => `by ${site}`), 'override'],
    ...first.sites.map(({ name, health, override }) => [
      name,
      health,
      ...statuses.map((status) => saidBy(status, name)),
      override === null ? '' : `${override.state} until ${dateOf(override.untilWallMs)}`,
    ]),
  ];
  return [`zone ${first.zone}`, '', ...aligned(nameservers), '', ...aligned(matrix), ...silent];
}

/** What a vantage says of a site itself, per family where they differ, and how old its newest observation is. */
function saidBy(status: VantageStatus, name: string): string {
  const site = status.sites.find((one) => one.name === name);
  if (site === undefined) return 'not listed';
  const verdicts = site.targets.map(({ family, votes }) => ({
    family,
    verdict: votes.find(({ vantage }) => vantage === status.site)?.verdict ?? 'unknown',
  }));
  const agreed = new Set(verdicts.map(({ verdict }) => verdict)).size === 1;
  const text = agreed
    ? (verdicts[0]?.verdict ?? 'unknown')
    : verdicts.map(({ family, verdict }) => `${family} ${verdict}`).join(' ');
  return site.observedAgeMs === null ? text : `${text} (${(site.observedAgeMs / 1000).toFixed(1)} s ago)`;
}

function notesOn({ answer, isolated, frozenUntilWallMs }: VantageStatus, wallMs: number): string {
  return [
    answer?.failOpen === true ? 'FAIL OPEN' : '',
    isolated ? 'ISOLATED' : '',
    frozenUntilWallMs !== null && frozenUntilWallMs > wallMs
      ? `FROZEN until ${dateOf(frozenUntilWallMs)}`
      : '',
    answer !== null && answer.warming.length > 0 ? `warming up: ${answer.warming.join(' ')}` : '',
  ]
    .filter((note) => note !== '')
    .join(', ');
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
