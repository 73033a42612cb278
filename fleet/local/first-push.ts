/**
 * The first push to a local fleet: its nodes start without a manifest and wait, as those in a cloud do, and get it by what
 * is behind `fleet push`.
 */
import type { Clock } from '../../system/clock.ts';
import { type Delivery, deliver, deliveryText } from '../operator/delivery.ts';
import { nameserversOf } from '../operator/nameservers.ts';
import type { SignedManifest } from '../operator/workspace.ts';

const EVERY_MS = 50;

/**
 * Resolves once every nameserver has taken the manifest; those that do not listen yet are asked again. Rejects when one
 * refuses it, after `withinMs` milliseconds, and with the signal's reason when it aborts.
 */
export async function pushFirst(
  { signed, manifest }: Pick<SignedManifest, 'signed' | 'manifest'>,
  { clock, withinMs, signal }: { clock: Clock; withinMs: number; signal: AbortSignal },
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + withinMs;
  let left = nameserversOf(manifest);
  for (;;) {
    signal.throwIfAborted();
    const deliveries: readonly Delivery[] = await deliver('manifest', [signed], left);
    const refused = deliveries.filter(({ outcome }) => outcome === 'refused');
    if (refused.length > 0) throw new Error(`the manifest is refused: ${deliveryText(refused).join('; ')}`);
    const away = deliveries.filter(({ outcome }) => outcome === 'unreachable');
    if (away.length === 0) return;
    if (clock.monotonicMs() > deadlineMs) {
      throw new Error(`no manifest after ${withinMs / 1000} s: ${deliveryText(away).join('; ')}`);
    }
    left = left.filter(({ name }) => away.some(({ nameserver }) => nameserver === name));
    await clock.sleep(EVERY_MS, signal);
  }
}
