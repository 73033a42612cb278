/**
 * How many queries a second the nameserver answers on one processor, beside gdnsd, Knot and NSD with the same zone in
 * the same run: `npm run bench:dns -- [--json FILE] [--seconds N] [--rounds N]`. Needs dnsperf.
 *
 * Every server is measured in every round, one after the other, because other work on the machine comes and goes. CPU
 * time per query is what the ratios are made from: it hardly depends on who else works. Every query asks for
 * signatures and carries a client cookie, so every server makes a cookie for each.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { writeToStdout } from '../../system/log.ts';
import { outputOf, startDaemon } from '../support/programs.ts';
import { DNS_SERVERS, type DnsServerKind, isInstalled, ZONE } from './dns-servers.ts';
import { cpuSecondsOf } from './process-usage.ts';

const ADDRESS = '127.47.0.1';
const PORT = 5353;
const COOKIE_OPTION = '10:0102030405060708';

interface Round {
  readonly queriesPerSecond: number;
  readonly latencyMs: number;
  /** CPU time of the server for one query, microseconds. */
  readonly cpuMicros: number;
  readonly lost: number;
}

interface Measured {
  readonly name: string;
  readonly rounds: readonly Round[];
  /** Best of all rounds. */
  readonly queriesPerSecond: number;
  /** Least of all rounds; a million divided by it is what one processor could answer. */
  readonly cpuMicros: number;
}

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
});
const directory = mkdtempSync(join(tmpdir(), 'bench-dns-'));
try {
  await run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function run(): Promise<void> {
  if (!isInstalled('dnsperf')) {
    process.stderr.write('bench:dns needs dnsperf (Debian package dnsperf)\n');
    process.exitCode = 64;
    return;
  }
  const queries = join(directory, 'queries');
  writeFileSync(queries, queryFile());
  const present = DNS_SERVERS.filter(({ program }) => isInstalled(program));
  for (const { name } of DNS_SERVERS.filter((kind) => !present.includes(kind))) {
    writeToStdout(`${name}: not installed, left out`);
  }
  const rounds = new Map<string, Round[]>(present.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const kind of present) {
      const place = join(directory, `${round}-${kind.name.replaceAll(/\W/g, '')}`);
      rounds.get(kind.name)?.push(await measure(kind, place, queries));
    }
  }
  const measured = [...rounds].map(
    ([name, all]): Measured => ({
      name,
      rounds: all,
      queriesPerSecond: Math.max(...all.map((one) => one.queriesPerSecond)),
      cpuMicros: Math.min(...all.map((one) => one.cpuMicros)),
    }),
  );
  const machine = {
    processors: cpus().length,
    model: cpus()[0]?.model ?? '',
    kernel: release(),
    node: process.version,
  };
  for (const line of reportLines(measured)) writeToStdout(line);
  if (values.json !== undefined) {
    writeFileSync(
      values.json,
      `${JSON.stringify({ at: new Date().toISOString(), machine, measured }, null, 2)}\n`,
    );
  }
}

/** Mostly what resolvers ask a fleet for: the answer. Some of it does not exist. */
function queryFile(): string {
  return Array.from({ length: 1000 }, (_, index) => {
    const kind = index % 20;
    if (kind < 12) return `${ZONE} A`;
    if (kind < 16) return `${ZONE} AAAA`;
    if (kind < 17) return `gcp.${ZONE} A`;
    if (kind < 18) return `${ZONE} NS`;
    return kind < 19 ? `none-${index}.${ZONE} A` : `${ZONE} HTTPS`;
  }).join('\n');
}

async function measure(kind: DnsServerKind, place: string, queries: string): Promise<Round> {
  mkdirSync(place, { recursive: true });
  const { program, parameters } = kind.prepare({ address: ADDRESS, port: PORT, directory: place });
  await using daemon = startDaemon(program, parameters);
  await untilItAnswers(kind.name, daemon.output);
  await load(queries, 1);
  const pids = descendantsOf(daemon.pid);
  const before = cpuSecondsOf(pids);
  const said = await load(queries, Number(values.seconds));
  const cpuSeconds = cpuSecondsOf(pids) - before;
  const completed = figure(said, /Queries completed:\s+(\d+)/);
  return {
    queriesPerSecond: Math.round(figure(said, /Queries per second:\s+([\d.]+)/)),
    latencyMs: figure(said, /Average Latency \(s\):\s+([\d.]+)/) * 1000,
    cpuMicros: (cpuSeconds / completed) * 1e6,
    lost: figure(said, /Queries lost:\s+(\d+)/),
  };
}

async function untilItAnswers(name: string, output: () => string): Promise<void> {
  const question = [`@${ADDRESS}`, '-p', String(PORT), '+tries=1', '+time=1', ZONE, 'A'];
  for (let tries = 0; tries < 40; tries += 1) {
    if ((await outputOf('dig', question)).includes('status: NOERROR')) return;
    await sleep(250);
  }
  throw new Error(`${name} does not answer: ${output()}`);
}

async function load(queries: string, seconds: number): Promise<string> {
  const target = ['-s', ADDRESS, '-p', String(PORT), '-d', queries, '-l', String(seconds)];
  const child = spawn('dnsperf', [...target, '-c', '8', '-q', '200', '-D', '-E', COOKIE_OPTION], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const chunk of child.stdout) said += String(chunk);
  return said;
}

/** NSD serves from a child of its child. */
function descendantsOf(pid: number): readonly number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
        return [{ pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }];
      } catch {
        return [];
      }
    });
  const found = [pid];
  for (const one of found)
    found.push(...parents.filter(({ parent }) => parent === one).map((child) => child.pid));
  return found;
}

function figure(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}

function reportLines(measured: readonly Measured[]): readonly string[] {
  const ratioTo = (one: Measured, name: string): string => {
    const other = measured.find((candidate) => candidate.name.startsWith(name));
    return other === undefined ? '-' : (other.cpuMicros / one.cpuMicros).toFixed(2);
  };
  return [
    row('', 'queries/s', 'latency ms', 'CPU us/query', 'x gdnsd', 'x Knot', 'x NSD', 'lost'),
    ...measured.map((one) =>
      row(
        one.name,
        String(one.queriesPerSecond),
        Math.min(...one.rounds.map(({ latencyMs }) => latencyMs)).toFixed(2),
        one.cpuMicros.toFixed(2),
        ratioTo(one, 'gdnsd'),
        ratioTo(one, 'Knot'),
        ratioTo(one, 'NSD'),
        String(one.rounds.reduce((sum, { lost }) => sum + lost, 0)),
      ),
    ),
    `signed / not signed: ${(Number(measured[0]?.cpuMicros) / Number(measured[1]?.cpuMicros)).toFixed(2)}`,
  ];
}

function row(...cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(22) : cell.padStart(14))).join('');
}
