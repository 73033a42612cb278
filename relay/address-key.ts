/**
 * A name for where a request comes from that is good for counting for an hour, and for nothing else: an HMAC of the
 * address under a key that lives in this process and is thrown away every hour. IPv6 counts by /64, since that is what
 * one household or one machine has.
 */
import { createHmac } from 'node:crypto';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';

const KEY_LIFE_MS = 3_600_000;

/** Names addresses as the socket gives them; every name changes when the key does. */
export function createAddressKey(
  clock: Pick<Clock, 'monotonicMs'>,
  random: Pick<Random, 'bytes'>,
): (address: string) => string {
  let key = random.bytes(32);
  let madeMs = clock.monotonicMs();
  return (address) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - madeMs >= KEY_LIFE_MS) {
      key = random.bytes(32);
      madeMs = nowMs;
    }
    return createHmac('sha256', key).update(networkOf(address)).digest().toString('base64url', 0, 16);
  };
}

/** The IPv4 address itself, also when it is mapped (RFC 4291 §2.5.5.2), or the first four groups of an IPv6 one. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = groupsOf(head);
  const right = groupsOf(tail ?? '');
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const groups = tail === undefined ? left : [...left, ...zeros, ...right];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

function groupsOf(text: string): readonly string[] {
  return text.split(':').filter((group) => group !== '');
}
