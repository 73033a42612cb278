/**
 * The zone in force, compiled and signed, and how it changes without anybody waiting.
 *
 *   new answer → compiled at once with signatures that are at hand, under the last SOA → served
 *              → the SOA with the new serial is signed → served
 *
 * What cannot be compiled is not served: then the last zone stays, and that is said loudly. Every hour old signatures
 * are replaced, and the sets of addresses that no answer has needed yet are signed with them.
 */
import type { KeyObject } from 'node:crypto';
import type { Manifest, SiteName, ZoneKeySet } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { describeError } from '../system/log.ts';
import { possibleAnswers, type Zone, type ZoneInput, zoneFrom } from './core/zone.ts';
import { type CompiledZone, compileZone } from './dns/compile.ts';
import { canonicalSets } from './dns/record-set.ts';
import { signBytesWith } from './dns/signature.ts';
import { createSigner, type Signer } from './dns/signer.ts';
import { compileTransfer, type TransferZone } from './dns/transfer-zone.ts';
import { dsRecords, keyTagOf, publicKeyText, zoneKeysExpireSeconds } from './dns/zone-keys.ts';
import type { Events } from './events.ts';

export interface ZoneKeeperOptions {
  readonly site: SiteName;
  /** This site's signing key, EC on P-256; needed once the manifest has zone keys. */
  readonly zoneKey: KeyObject | undefined;
  readonly clock: Clock;
  readonly events: Pick<Events, 'zoneRefused' | 'zoneSigned' | 'signaturesLeft'>;
  /** Another zone is in force, or none. */
  readonly changed: (zone: CompiledZone | undefined) => void;
  /** What secondaries get has changed; undefined: there are none, and nothing is made for them. */
  readonly transferChanged: ((zone: TransferZone) => void) | undefined;
  /** Stops what it does by the hour. */
  readonly resources: AsyncDisposableStack;
}

/** What a zone is made from, at this site's nameserver. */
export type ZoneContent = Omit<ZoneInput, 'self'>;

export interface ZoneKeeper {
  /** Serves this from now on, unless it must not be served. */
  readonly publish: (content: ZoneContent) => void;
  /** Serves nothing any more. */
  readonly withdraw: () => void;
  /** Undefined until there is something to serve. */
  readonly inForce: () => CompiledZone | undefined;
  /** The same for secondaries; undefined until then, and while nobody transfers. */
  readonly forTransfer: () => TransferZone | undefined;
}

const REFRESH_MS = 3_600_000;
/** So many signatures take a few milliseconds, and then queries have their turn. */
const SIGNATURES_AT_A_TIME = 64;

/** Nothing is in force until the first zone is published. */
export function createZoneKeeper(options: ZoneKeeperOptions): ZoneKeeper {
  const { clock, events, resources } = options;
  const signWith = signers(options);
  const transfers = createTransferKeeper(options);
  let wanted: ZoneContent | undefined;
  let served: { readonly zone: Zone; readonly manifest: Manifest } | undefined;
  let inForce: CompiledZone | undefined;
  let cancelSoa: (() => void) | undefined;
  let refreshing = new AbortController();
  const stop = (): void => {
    cancelSoa?.();
    refreshing.abort();
  };
  resources.defer(stop);
  /** False when it must not be served. */
  const serve = (zone: Zone, manifest: Manifest): boolean => {
    try {
      inForce = compileZone(zone, signWith(manifest)?.sign);
      served = { zone, manifest };
      options.changed(inForce);
      transfers.update(zone, manifest);
      return true;
    } catch (error) {
      events.zoneRefused(describeError(error));
      return false;
    }
  };
  const zoneOf = (content: ZoneContent): Zone => zoneFrom({ ...content, self: options.site });
  const refreshByTheHour = async (manifest: Manifest, stopped: AbortSignal): Promise<void> => {
    const { zone, zoneKeys } = manifest;
    const signer = signWith(manifest);
    if (signer === undefined || zoneKeys === undefined) return;
    events.zoneSigned(dsRecords(zone, zoneKeys));
    for (;;) {
      await signPossibleAnswers(manifest, signer, clock, stopped);
      if (wanted?.manifest === manifest) serve(zoneOf(wanted), manifest);
      events.signaturesLeft(endsOf(zoneKeys, signer));
      await clock.sleep(REFRESH_MS, stopped);
    }
  };
  return {
    publish: (content) => {
      const { manifest } = content;
      const [before, zone] = [served, zoneOf(content)];
      cancelSoa?.();
      if (before?.manifest !== manifest) {
        if (!serve(zone, manifest)) return;
        wanted = content;
        refreshing.abort();
        refreshing = new AbortController();
        void refreshByTheHour(manifest, refreshing.signal).catch(() => undefined);
        return;
      }
      wanted = content;
      const signer = signWith(manifest);
      if (signer === undefined || !needsSoa(zone, signer)) {
        serve(zone, manifest);
      } else if (serve(withSoaOf(zone, before.zone), manifest)) {
        cancelSoa = clock.after(0, () => serve(zone, manifest));
      }
    },
    withdraw: () => {
      stop();
      wanted = served = inForce = undefined;
      options.changed(undefined);
      transfers.withdraw();
    },
    inForce: () => inForce,
    forTransfer: transfers.inForce,
  };
}

/** When the first signature of each kind ends, seconds since 1970. */
function endsOf(
  zoneKeys: ZoneKeySet,
  signer: Signer,
): { readonly keysExpireSeconds: number; readonly recordsExpireSeconds: number } {
  const keysExpireSeconds = zoneKeysExpireSeconds(zoneKeys);
  return { keysExpireSeconds, recordsExpireSeconds: signer.expiresSeconds() ?? keysExpireSeconds };
}

/** The zone for secondaries, after each change and never in its way; its own signatures, since its TTL is another. */
function createTransferKeeper(options: ZoneKeeperOptions): {
  readonly update: (zone: Zone, manifest: Manifest) => void;
  readonly withdraw: () => void;
  readonly inForce: () => TransferZone | undefined;
} {
  const { clock, events, transferChanged, resources } = options;
  const signWith = signers(options);
  let inForce: TransferZone | undefined;
  let cancel: (() => void) | undefined;
  resources.defer(() => cancel?.());
  const compile = (zone: Zone, manifest: Manifest): void => {
    try {
      const previous = inForce;
      inForce = compileTransfer(zone, signWith(manifest)?.sign, {
        ttlSeconds: manifest.health.ttlMinSeconds,
        nowSeconds: Math.floor(clock.wallMs() / 1000),
        previous,
      });
      if (inForce !== previous) transferChanged?.(inForce);
    } catch (error) {
      events.zoneRefused(describeError(error));
    }
  };
  return {
    update: (zone, manifest) => {
      cancel?.();
      if (transferChanged !== undefined) cancel = clock.after(0, () => compile(zone, manifest));
    },
    withdraw: () => {
      cancel?.();
      inForce = undefined;
    },
    inForce: () => inForce,
  };
}

/**
 * Who signs the zone of a manifest: nobody while it has no zone keys. Throws when it has, and this site's key is not
 * among them: whatever such a key signs is bogus.
 */
function signers({
  site,
  zoneKey,
  clock,
}: ZoneKeeperOptions): (manifest: Pick<Manifest, 'zone' | 'zoneKeys'>) => Signer | undefined {
  const publicKey = zoneKey === undefined ? undefined : publicKeyText(zoneKey);
  let signer: Signer | undefined;
  return ({ zone, zoneKeys }) => {
    if (zoneKeys === undefined) return undefined;
    const isListed = zoneKeys.keys.some((key) => key.site === site && key.publicKey === publicKey);
    if (zoneKey === undefined || publicKey === undefined || !isListed) {
      throw new Error(`the manifest does not list this nameserver's zone key for ${site} (zoneKeys)`);
    }
    signer ??= createSigner({
      zone,
      keyTag: keyTagOf({ site, publicKey }),
      signBytes: signBytesWith(zoneKey),
      wallSeconds: () => Math.floor(clock.wallMs() / 1000),
    });
    return signer;
  };
}

/** Signs every set of addresses that an answer may carry, with pauses; what is at hand costs nothing. */
async function signPossibleAnswers(
  manifest: Manifest,
  signer: Signer,
  clock: Clock,
  stopped: AbortSignal,
): Promise<void> {
  let made = 0;
  for (const answer of possibleAnswers(manifest)) {
    for (const set of canonicalSets(answer, manifest.zone)) {
      if (!signer.wouldSign(set)) continue;
      signer.sign(set);
      made += 1;
      if (made % SIGNATURES_AT_A_TIME === 0) await clock.sleep(0, stopped);
    }
  }
}

function needsSoa(zone: Zone, signer: Signer): boolean {
  const soa = (zone.names.get(zone.apex) ?? []).filter((set) => set.type === 'SOA');
  return soa.some((set) => canonicalSets(set, zone.apex).some((one) => signer.wouldSign(one)));
}

function withSoaOf(zone: Zone, { soa }: Zone): Zone {
  const sets = (zone.names.get(zone.apex) ?? []).map((set) => (set.type === 'SOA' ? { ...set, soa } : set));
  return { ...zone, soa, names: new Map([...zone.names, [zone.apex, sets]]) };
}
