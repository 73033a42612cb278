/**
 * Whether this vantage reaches the world: a TLS handshake with a place outside the fleet, its certificate verified,
 * so that no captive middlebox can pretend. One of several places suffices; they need not belong to anybody's fleet.
 */
import { connect, type SecureContext } from 'node:tls';
import type { Manifest } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';

/** A success counts for so many probe intervals. */
const FRESH_INTERVALS = 3;

export interface OutsideOptions {
  readonly manifest: Pick<Manifest, 'externalCanaries' | 'health'>;
  readonly trust: SecureContext;
  readonly clock: Clock;
  readonly reached: (reached: boolean) => void;
}

/** A function to call once in each probe interval: it tries every canary and tells what that means. */
export function createOutsideProbe({ manifest, trust, clock, reached }: OutsideOptions): () => void {
  const { probeIntervalMs, probeTimeoutMs } = manifest.health;
  let successMs: number | undefined;
  const tell = (): void => {
    const ageMs = successMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() - successMs;
    reached(ageMs <= FRESH_INTERVALS * probeIntervalMs);
  };
  return () => {
    tell();
    for (const { address, port, name } of manifest.externalCanaries) {
      const socket = connect({ host: address, port, servername: name, secureContext: trust });
      const cancel = clock.after(probeTimeoutMs, () => socket.destroy());
      socket.once('secureConnect', () => {
        successMs = clock.monotonicMs();
        tell();
        socket.destroy();
      });
      socket.on('error', () => undefined).once('close', cancel);
    }
  };
}
