/**
 * The last step of every command that signs: bring what was signed to the nameservers, tell what became of it at each,
 * and wait until all hold it where that was asked for.
 */
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { ok } from '../../system/result.ts';
import { endpoints } from '../../system/settings.ts';
import {
  type CommandIo,
  DONE,
  misused,
  NOT_WELL,
  type Outcome,
  REFUSED,
  UNREACHABLE,
  type Words,
} from '../commands/command.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { type Delivery, deliver, deliveryText } from './delivery.ts';
import { untilHeld } from './holding.ts';
import { type Nameserver, nameserversAt, nameserversOf } from './nameservers.ts';
import type { SignedManifest } from './workspace.ts';

/** Flags of every command that brings something to nameservers. */
export const HANDING_FLAGS = { at: 'value', wait: 'value' } as const;

const WAIT_SECONDS_MAX = 3600;

/** The nameservers that `--at` names, or all of the manifest. */
export function nameserversFor(given: Words, manifest: Manifest): Outcome<readonly Nameserver[]> {
  const at = given.flags.get('at');
  if (at === undefined) return ok(nameserversOf(manifest));
  const { parse, expected } = endpoints();
  const places = parse(at);
  return places === undefined
    ? misused(`--at: expected ${expected}, the vote port of a nameserver, got ${JSON.stringify(at)}.`)
    : ok(nameserversAt(places, manifest));
}

/** Seconds that `--wait` allows, as milliseconds; 0 without it. */
export function waitMs(given: Words): Outcome<number> {
  const text = given.flags.get('wait') ?? '0';
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return seconds <= WAIT_SECONDS_MAX
    ? ok(seconds * 1000)
    : misused(`--wait: expected seconds, 0 to ${WAIT_SECONDS_MAX}, got ${JSON.stringify(text)}.`);
}

export interface HandingOut {
  readonly nameservers: readonly Nameserver[];
  readonly withinMs: number;
  /** Of somebody on call, with which relays are seen too; undefined without one. */
  readonly identity: PinnedIdentity | undefined;
}

/** Brings a manifest to the nameservers. Gives the exit code. */
export async function handOutManifest(
  { signed, signedNext, manifest }: SignedManifest,
  { nameservers, withinMs, identity }: HandingOut,
  given: Words,
  io: CommandIo,
): Promise<number> {
  const signatures: [string, ...string[]] = signedNext === undefined ? [signed] : [signed, signedNext];
  const deliveries = await deliver('manifest', signatures, nameservers);
  const late =
    withinMs > 0 && deliveries.some(isTaken)
      ? await untilHeld(manifest.version, nameservers, { identity, clock: io.clock, withinMs })
      : [];
  if (given.flags.has('json')) {
    io.print(JSON.stringify({ version: manifest.version, deliveries, late }));
  } else {
    for (const line of deliveryText(deliveries)) io.print(line);
    for (const line of hints(deliveries)) io.print(line);
    for (const line of late) io.print(`After ${withinMs / 1000} s ${line}.`);
    if (withinMs > 0 && late.length === 0 && deliveries.some(isTaken)) {
      const whom = identity === undefined ? 'All nameservers' : 'All nameservers and relays';
      io.print(`${whom} that answer hold version ${manifest.version}.`);
    }
  }
  return late.length > 0 ? NOT_WELL : codeOf(deliveries);
}

/** 0 when all took it, 3 when none could be reached, 2 when all that could refused it, else 1. */
export function codeOf(deliveries: readonly Delivery[]): number {
  if (deliveries.every(isTaken)) return DONE;
  if (deliveries.every(({ outcome }) => outcome === 'unreachable')) return UNREACHABLE;
  return deliveries.some(isTaken) ? NOT_WELL : REFUSED;
}

function isTaken({ outcome }: Delivery): boolean {
  return outcome === 'adopted' || outcome === 'already';
}

const HINTS: Readonly<Record<string, string>> = {
  not_newer:
    'A newer version is in force: somebody signed elsewhere. Take their directory, or sign with --version.',
  version_taken:
    'Another manifest with this version is in force: compare with who signed it, then sign again.',
  not_signed:
    'That node was made with the key of other operators: see `archipelago:manifestKey` of its stack.',
  below_minimum:
    'That node was told never to go back so far: see `archipelago:manifestVersionMin` of its stack.',
  own_entry_differs:
    'That node has other keys than the manifest lists for it: were its secret files replaced?',
};

function hints(deliveries: readonly Delivery[]): readonly string[] {
  const codes = new Set(deliveries.map(({ code }) => code));
  return [...codes].flatMap((code) => (Object.hasOwn(HINTS, code) ? [HINTS[code] ?? ''] : []));
}
