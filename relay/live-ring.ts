/**
 * A key ring that changes while the relay runs: SIGHUP reads the secrets again, so that keys are added, minted with
 * and retired without a restart that would send every recipient elsewhere.
 *
 * Secrets that cannot be read or are wrong leave everything as it was. The pepper never changes: it decides under
 * which tags messages are stored, and a relay with another one would find none of them.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Log } from '../system/log.ts';
import { fail, type Result } from '../system/result.ts';
import { type KeyRing, parseKeyRing } from './core/key-ring.ts';

export interface LiveRing {
  /** Always the newest keys; hold on to this object and to nothing in it. */
  readonly ring: KeyRing;
  /** Takes the keys of a secrets file from now on; gives how many, or leaves everything and says why not. */
  replace(secrets: string | undefined): Result<number, readonly string[]>;
}

/** A ring whose keys are those of the newest `replace`. */
export function createLiveRing(first: KeyRing): LiveRing {
  let current = first;
  return {
    ring: {
      get keys() {
        return current.keys;
      },
      get minting() {
        return current.minting;
      },
      pepper: first.pepper,
    },
    replace: (secrets) => {
      const next: Result<KeyRing, readonly string[]> =
        secrets === undefined ? fail(['secrets: expected a readable file']) : parseKeyRing(secrets);
      if (!next.ok) return next;
      if (!timingSafeEqual(next.value.pepper, first.pepper)) {
        return fail(['secrets.pepper: must stay as it is, or no message would be found again']);
      }
      current = next.value;
      return { ok: true, value: current.keys.size };
    },
  };
}

/** Reads the secrets again at every SIGHUP, until the resources are released. */
export function reloadOnHangup(
  live: LiveRing,
  readSecrets: () => string | undefined,
  log: Log,
  resources: AsyncDisposableStack,
): void {
  const reload = (): void => {
    const replaced = live.replace(readSecrets());
    if (replaced.ok) log.info('secrets reloaded', { capabilityKeys: replaced.value });
    else log.error('secrets not reloaded', { reason: replaced.fault.join('; ') });
  };
  process.on('SIGHUP', reload);
  resources.defer(() => {
    process.off('SIGHUP', reload);
  });
}
