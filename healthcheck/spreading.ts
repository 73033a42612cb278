/**
 * How documents get from one vantage to all: whoever adopts one posts it to every other vantage at once, and every few
 * seconds each compares itself with another, in turn. So one push to any vantage is enough, and who was away catches
 * up by itself. There is no leader, and nothing is believed but the signatures.
 */
import { vantagesOf, type WitnessEntry } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';
import { MANIFEST_PATH, OVERRIDES_PATH } from './adapters/fleet-port.ts';
import { everyPeriod } from './adapters/schedule.ts';
import { askVantage, type VantageResponse } from './adapters/vantage-request.ts';
import { nameserverName } from './core/zone.ts';
import type { Documents, Held } from './documents.ts';
import type { Events } from './events.ts';

export const SPREAD_OUTCOMES = ['taken', 'refused', 'unreachable'] as const;
export type SpreadOutcome = (typeof SPREAD_OUTCOMES)[number];

export interface SpreadingOptions {
  readonly self: string;
  readonly identity: PinnedIdentity;
  readonly documents: Documents;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Pick<Events, 'documentSpread' | 'manifestRefused' | 'overridesRefused'>;
}

export interface Spreading {
  /** Posts what is new to every other vantage, also to those that are no longer listed. */
  announce(held: Held, before: Held | undefined): void;
  /** Compares with every other vantage once, and then with one after another until the resources are disposed of. */
  start(resources: AsyncDisposableStack): void;
}

const COMPARE_EVERY_MS = 5000;

/** Spreads what the documents hold. */
export function createSpreading(options: SpreadingOptions): Spreading {
  const { documents, self, clock, random } = options;
  const others = (held: Held | undefined): readonly WitnessEntry[] =>
    held === undefined ? [] : vantagesOf(held.manifest).filter(({ name }) => name !== self);
  let turn = 0;
  return {
    announce: (held, before) => {
      const listed = others(held);
      const left = others(before).filter(({ name }) => !listed.some((one) => one.name === name));
      const isNew = held.signed !== before?.signed;
      for (const vantage of [...listed, ...left]) void post(vantage, held, isNew, options);
    },
    start: (resources) => {
      const compare = (vantage: WitnessEntry): void => void compareWith(vantage, options);
      for (const vantage of others(documents.held())) compare(vantage);
      const next = (): void => {
        const all = others(documents.held());
        turn += 1;
        const vantage = all[turn % all.length];
        if (vantage !== undefined) compare(vantage);
      };
      resources.defer(everyPeriod(COMPARE_EVERY_MS, next, { clock, random }));
    },
  };
}

async function post(
  vantage: WitnessEntry,
  held: Held,
  withManifest: boolean,
  options: SpreadingOptions,
): Promise<void> {
  const { signed, overrides } = held;
  const messages = [
    ...(withManifest ? [{ path: MANIFEST_PATH, body: signed }] : []),
    ...(overrides === undefined ? [] : [{ path: OVERRIDES_PATH, body: overrides.signed }]),
  ];
  for (const { path, body } of messages) {
    const response = await ask(vantage, held, { method: 'POST', path, body }, options);
    options.events.documentSpread(
      vantage.name,
      response === undefined ? 'unreachable' : response.status === 200 ? 'taken' : 'refused',
    );
  }
}

async function compareWith(vantage: WitnessEntry, options: SpreadingOptions): Promise<void> {
  const { documents } = options;
  const held = documents.held();
  if (held === undefined) return;
  const headers = { 'if-none-match': held.tag };
  const response = await ask(vantage, held, { method: 'GET', path: MANIFEST_PATH, headers }, options);
  if (response?.status === 404) await post(vantage, held, true, options);
  if (response?.status !== 200) return;
  const theirs = documentsIn(response.body);
  if (theirs === undefined) return;
  await takeWhatIsNewer(theirs, options);
  const now = documents.held();
  // Whatever it lacks; what it has already it says so.
  if (now !== undefined && now.tag !== response.tag) await postWhatDiffers(vantage, now, theirs, options);
}

interface Theirs {
  readonly manifest: string;
  readonly overrides: string | undefined;
}

/** It is no fault of anybody that the other side's are older. */
async function takeWhatIsNewer(theirs: Theirs, { documents, events }: SpreadingOptions): Promise<void> {
  const manifest = await documents.takeManifest(theirs.manifest);
  if (!manifest.ok && manifest.fault.reason !== 'not_newer') {
    events.manifestRefused(manifest.fault.reason, manifest.fault.detail);
  }
  if (theirs.overrides === undefined) return;
  const overrides = await documents.takeOverrides(theirs.overrides);
  if (!overrides.ok && overrides.fault.reason !== 'not_newer') {
    events.overridesRefused(overrides.fault.reason, overrides.fault.detail);
  }
}

async function postWhatDiffers(
  vantage: WitnessEntry,
  held: Held,
  theirs: Theirs,
  options: SpreadingOptions,
): Promise<void> {
  const theirVersion = versionIn(theirs.manifest);
  const isOlder = theirVersion !== undefined && theirVersion < held.manifest.version;
  const lacksOverrides = held.overrides !== undefined && held.overrides.signed !== theirs.overrides;
  if (isOlder || lacksOverrides) await post(vantage, held, isOlder, options);
}

async function ask(
  vantage: WitnessEntry,
  { manifest }: Held,
  asked: Parameters<typeof askVantage>[1],
  { identity }: SpreadingOptions,
): Promise<VantageResponse | undefined> {
  const serverName = nameserverName(manifest, vantage.name);
  const response = await askVantage(vantage, asked, { identity, serverName });
  return response.ok ? response.value : undefined;
}

function documentsIn(body: string): Theirs | undefined {
  try {
    const { manifest, overrides } = JSON.parse(body) as Record<string, unknown>;
    if (typeof manifest !== 'string') return undefined;
    return { manifest, overrides: typeof overrides === 'string' ? overrides : undefined };
  } catch {
    return undefined;
  }
}

/** What a manifest says its version is, believed only as a reason to send it ours. */
function versionIn(signed: string): number | undefined {
  try {
    const payload = Buffer.from(signed.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { version } = JSON.parse(payload) as Record<string, unknown>;
    return typeof version === 'number' ? version : undefined;
  } catch {
    return undefined;
  }
}
