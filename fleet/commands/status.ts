/**
 * `fleet status`: what every nameserver answers and believes, side by side: asked from anywhere with the key of
 * somebody on call, or at the vantages' private ports from inside. And which certificates clients are shown.
 */

import type { WholeStatus } from '../../healthcheck/status.ts';
import { ok } from '../../system/result.ts';
import type { Validity } from '../../system/server-certificate.ts';
import { type Endpoint, endpoints } from '../../system/settings.ts';
import { askPrivate } from '../local/private-http.ts';
import {
  certificateRows,
  isCertificateWell,
  renewalFaults,
  type SiteCertificate,
} from '../operator/certificate-report.ts';
import { lackingIn } from '../operator/copies.ts';
import { statusAt, statusIn } from '../operator/holding.ts';
import { nameserversOf } from '../operator/nameservers.ts';
import { ON_CALL_FLAGS, onCallOf } from '../operator/on-call.ts';
import { shownAt } from '../operator/shown-certificate.ts';
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

const TIMEOUT_MS = 2000;

interface Asked {
  readonly at: string;
  /** Undefined when there was no answer in time, or one that is no status. */
  readonly status: WholeStatus | undefined;
  /** The certificate that the site's relays show; null: not seen from here, or it is a witness. */
  readonly shown: Validity | null;
}

export const statusCommand: OperatorCommand = operatorCommand({
  help: `  status [--as NAME] [--dir DIR] [--json] | status --at ADDRESS:PORT[,ADDRESS:PORT...] [--json]
      What each nameserver answers, who says what of whom, and how long each site's certificate is good for, asked with
      the key of somebody on call; or, --at, at the private ports of the vantages.
      Exit code 1 when a vantage does not answer, waits or is isolated, answers or manifests differ, a relay has an old
      manifest, an answer fails open, a certificate is missing or in the last quarter of its life, or a site lacks
      copies of messages: then take no other site out of service.`,
  flags: { ...ON_CALL_FLAGS, at: 'value', json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) => {
    const asked = given.flags.has('at') ? await askAtPrivatePorts(given) : await askAll(given, io);
    if (!asked.ok) return asked;
    if (given.flags.has('json')) io.print(JSON.stringify(asked.value));
    else for (const line of asTable(asked.value, io.clock.wallMs())) io.print(line);
    if (asked.value.every(({ status }) => status === undefined)) return ok(UNREACHABLE);
    return ok(isWell(asked.value, io.clock.wallMs()) ? DONE : NOT_WELL);
  },
});

async function askAtPrivatePorts(given: Words): Promise<Outcome<readonly Asked[]>> {
  const text = given.flags.get('at') ?? '';
  const { parse, expected } = endpoints();
  const places = parse(text);
  if (places === undefined) return misused(`--at: expected ${expected}, got ${JSON.stringify(text)}.`);
  return ok(
    await Promise.all(
      places.map(async (at) => ({ at: `${at.host}:${at.port}`, status: await ask(at), shown: null })),
    ),
  );
}

async function askAll(given: Words, io: CommandIo): Promise<Outcome<readonly Asked[]>> {
  const signed = await needManifest(directoryPath(given));
  if (!signed.ok) return signed;
  const onCall = await onCallOf(given, io);
  if (!onCall.ok) return onCall;
  const { identity } = onCall.value;
  const { manifest } = signed.value;
  return ok(
    await Promise.all(
      nameserversOf(manifest).map(async (to) => {
        const site = manifest.sites.find(({ name }) => name === to.name);
        const [status, shown] = await Promise.all([
          statusAt(to, identity),
          site === undefined ? null : shownAt(site, manifest),
        ]);
        return { at: to.name, status, shown };
      }),
    ),
  );
}

async function ask(at: Endpoint): Promise<WholeStatus | undefined> {
  try {
    const { body } = await askPrivate(at.host, at.port, '/status', TIMEOUT_MS);
    return statusIn(body);
  } catch {
    return undefined;
  }
}

function isWell(asked: readonly Asked[], wallMs: number): boolean {
  const statuses = asked.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const answers = new Set(statuses.map(({ answer }) => answer?.targets.join()));
  const versions = new Set(
    statuses.flatMap(({ manifestVersion, relays }) => [
      manifestVersion,
      relays?.manifestVersionMin ?? manifestVersion,
    ]),
  );
  return (
    statuses.length === asked.length &&
    answers.size === 1 &&
    versions.size === 1 &&
    statuses.every(
      (status) => status.answer?.failOpen === false && !status.isolated && lackingIn(status).length === 0,
    ) &&
    certificatesIn(asked).every((certificate) => isCertificateWell(certificate, wallMs))
  );
}

/** Of the sites; a witness has none. */
function certificatesIn(asked: readonly Asked[]): readonly SiteCertificate[] {
  const sites = asked.flatMap(({ status }) => status?.sites.map(({ name }) => name) ?? []);
  return asked
    .map(({ at, status, shown }) => ({ site: status?.site ?? at, shown, acme: status?.certificate }))
    .filter(({ site, acme, shown }) => sites.includes(site) || (acme ?? shown) !== null);
}

function asTable(asked: readonly Asked[], wallMs: number): readonly string[] {
  const statuses = asked.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const silent = asked.filter(({ status }) => status === undefined).map(({ at }) => `${at} does not answer`);
  const first = statuses.find(({ sites }) => sites.length > 0) ?? statuses[0];
  if (first === undefined) return silent;
  const nameservers = [
    ['vantage', 'manifest', 'relays', 'generation', 'answer', 'TTL', 'notes'],
    ...statuses.map((status) => [
      status.site,
      String(status.manifestVersion),
      String(status.relays?.manifestVersionMin ?? '-'),
      String(status.generation),
      status.answer?.sites.join(' ') ?? 'none yet',
      status.answer === null ? '' : `${status.answer.ttlSeconds} s`,
      notesOn(status, wallMs),
    ]),
  ];
  const matrix = [
    ['site', 'health', ...statuses.map(({ site }) => `by ${site}`), 'override'],
    ...first.sites.map(({ name, health, override, targets }) => [
      name,
      targets.some(({ strained }) => strained) ? `${health}, strained` : health,
      ...statuses.map((status) => saidBy(status, name)),
      override === null ? '' : `${override.state} until ${dateOf(override.untilWallMs)}`,
    ]),
  ];
  const certificates = certificatesIn(asked);
  return [
    `zone ${first.zone}`,
    '',
    ...aligned(nameservers),
    '',
    ...aligned(matrix),
    '',
    ...aligned(certificateRows(certificates, wallMs)),
    ...renewalFaults(certificates),
    ...silent,
  ];
}

/** What a vantage says of a site itself, per family where they differ, and how old its newest observation is. */
function saidBy(status: WholeStatus, name: string): string {
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

function notesOn(status: WholeStatus, wallMs: number): string {
  const { answer, isolated, waiting, frozenUntilWallMs } = status;
  const lacking = lackingIn(status);
  return [
    answer?.failOpen === true ? 'FAIL OPEN' : '',
    typeof waiting === 'string' ? `WAITS: ${waiting}` : '',
    isolated && typeof waiting !== 'string' ? 'ISOLATED' : '',
    frozenUntilWallMs !== null && frozenUntilWallMs > wallMs
      ? `FROZEN until ${dateOf(frozenUntilWallMs)}`
      : '',
    lacking.length > 0 ? `COPIES MISSING: ${lacking.join(' ')}` : '',
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
