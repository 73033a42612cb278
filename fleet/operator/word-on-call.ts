/**
 * The word of somebody on call: drain a site, freeze automation, or take either back, for a while that ends by itself.
 * What holds now is fetched first, so that one person's word does not undo another's.
 */
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { ok } from '../../system/result.ts';
import { agreed, type CommandIo, misused, type Outcome, refused, type Words } from '../commands/command.ts';
import type { Manifest, Overrides, SiteName } from '../manifest/manifest.ts';
import {
  admitOverrides,
  OVERRIDE_MS_MAX,
  overrideKeys,
  signOverrides,
  withOverrides,
} from '../manifest/overrides.ts';
import { deliver, deliveryText } from './delivery.ts';
import { fetchInForce, type InForce } from './fetched.ts';
import { codeOf, nameserversFor } from './handing-out.ts';
import { type Nameserver, nameserversOf } from './nameservers.ts';
import { onCallOf } from './on-call.ts';
import { prospectOf } from './prospect.ts';
import { directoryPath, needManifest, operatorsKeys } from './workspace.ts';

/** Flags of every command with which somebody on call says something. */
export const WORD_FLAGS = {
  dir: 'value',
  as: 'value',
  key: 'value',
  at: 'value',
  yes: 'alone',
  json: 'alone',
} as const;

/**
 * From what was said on call before to what is to hold now; `manifest` says what operators signed beside it, and with
 * `identity` its nameservers can be asked.
 */
export type Change = (
  before: Overrides,
  manifest: Manifest,
  wallMs: number,
  identity: PinnedIdentity,
) => Outcome<Overrides> | Promise<Outcome<Overrides>>;

/** Fetches, changes, checks, asks, signs and hands out. Gives the exit code. */
export async function sayOnCall(change: Change, given: Words, io: CommandIo): Promise<Outcome<number>> {
  const path = directoryPath(given);
  const keys = operatorsKeys(path);
  if (!keys.ok) return keys;
  const known = await needManifest(path);
  if (!known.ok) return known;
  const onCall = await onCallOf(given, io);
  if (!onCall.ok) return onCall;
  const nameservers = nameserversFor(given, known.value.manifest);
  if (!nameservers.ok) return nameservers;
  const inForce = await fetchInForce(nameservers.value, keys.value);
  if (!inForce.ok) return inForce;
  const { manifest } = inForce.value;
  if (!keys.value.some((key) => overrideKeys(manifest, key).has(onCall.value.jwk.x))) {
    return refused(
      `The manifest in force, version ${manifest.version}, does not list your key. Take another with --as or --key.`,
    );
  }
  const wallMs = io.clock.wallMs();
  const document = await documentFrom(inForce.value, change, wallMs, onCall.value.identity);
  if (!document.ok) return document;
  for (const line of effect(inForce.value, document.value.overrides, wallMs)) {
    if (!given.flags.has('json')) io.print(line);
  }
  const answer = await agreed('Do it?', given, io);
  if (!answer.ok) return answer;
  const overtaken = given.flags.has('yes')
    ? undefined
    : await newerThan(inForce.value, nameservers.value, keys.value);
  if (overtaken !== undefined) return refused(overtaken);
  const signed = await signOverrides(document.value, onCall.value.jwk);
  const to = given.flags.has('at') ? nameservers.value : nameserversOf(manifest);
  const deliveries = await deliver('overrides', [signed], to);
  if (given.flags.has('json')) io.print(JSON.stringify({ ...document.value, deliveries }));
  else for (const line of deliveryText(deliveries)) io.print(line);
  return ok(codeOf(deliveries));
}

/** While one person thinks about the answer another may speak, and what is signed next would undo that unseen. */
async function newerThan(
  seen: InForce,
  nameservers: readonly Nameserver[],
  operatorsKeys: readonly string[],
): Promise<string | undefined> {
  const now = await fetchInForce(nameservers, operatorsKeys);
  return now.ok && (now.value.overrides?.sequence ?? 0) > (seen.overrides?.sequence ?? 0)
    ? 'Somebody on call said something else meanwhile. Nothing was changed: look at `fleet status`, and say it again.'
    : undefined;
}

/** How long a word holds: `--for 90m` or `2h`, at most a day. Milliseconds. */
export function forMs(given: Words): Outcome<number> {
  const text = given.flags.get('for') ?? '';
  const [, amount = '', unit = ''] = /^([1-9]\d{0,4})([smh])$/.exec(text) ?? [];
  const ms = Number(amount) * ({ s: 1000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN);
  return ms > 0 && ms <= OVERRIDE_MS_MAX
    ? ok(ms)
    : misused(
        `--for: expected how long, such as 45m or 2h, at most 24h, got ${text === '' ? 'nothing' : JSON.stringify(text)}.`,
      );
}

/** Whether there is such a site; the fault names those that there are. */
export function siteIn(manifest: Manifest, name: SiteName): Outcome<SiteName> {
  const names = manifest.sites.map((site) => site.name);
  return names.includes(name)
    ? ok(name)
    : misused(`There is no site ${JSON.stringify(name)}; there are ${names.join(', ')}.`);
}

async function documentFrom(
  { manifest, overrides: held }: InForce,
  change: Change,
  wallMs: number,
  identity: PinnedIdentity,
): Promise<Outcome<{ readonly format: 1; readonly sequence: number; readonly overrides: Overrides }>> {
  const next = await change(stillHolding(held?.overrides, manifest, wallMs), manifest, wallMs, identity);
  if (!next.ok) return next;
  // Newer than what holds, also when the clock of who said that was ahead of this one.
  const sequence = Math.max(wallMs, (held?.sequence ?? 0) + 1);
  const document = { format: 1, sequence, overrides: next.value } as const;
  const admitted = admitOverrides(document, manifest, { held: held?.sequence ?? 0, wallMs });
  return admitted.ok
    ? ok(document)
    : refused(`${admitted.fault.reason}: ${admitted.fault.details.join(' ')}`);
}

/** What somebody on call said and what has not ended. */
function stillHolding(said: Overrides | undefined, manifest: Manifest, wallMs: number): Overrides {
  const frozen = said?.frozenUntilWallMs ?? null;
  return {
    sites: (said?.sites ?? []).filter(
      ({ site, untilWallMs }) => untilWallMs > wallMs && manifest.sites.some(({ name }) => name === site),
    ),
    frozenUntilWallMs: frozen !== null && frozen > wallMs ? frozen : null,
  };
}

function effect({ manifest, overrides }: InForce, after: Overrides, wallMs: number): readonly string[] {
  const before = overrides === undefined ? manifest : withOverrides(manifest, overrides.overrides);
  const next = withOverrides(manifest, after);
  const answer = (of: Manifest): string =>
    prospectOf(of, wallMs)
      .map(({ site }) => site)
      .join(' ') || 'nothing';
  return [
    `While all sites are well, DNS answers ${answer(before)} now, and ${answer(next)} then.`,
    ...after.sites.map(({ site, state, untilWallMs }) => `  ${site}: ${state} until ${dateOf(untilWallMs)}`),
    ...(after.frozenUntilWallMs === null
      ? []
      : [`  frozen until ${dateOf(after.frozenUntilWallMs)}: no measurement changes an answer`]),
  ];
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
