/**
 * The addresses of whoever asks, from the text that Node gives to bytes, for budgets and cookies.
 */
import { addressBytes } from './address.ts';

/** An address that cannot be read counts as this one; none comes from a socket. */
const UNREADABLE = new Uint8Array(16);

/**
 * A reader of addresses. IPv4 is read by hand into bytes that the next call overwrites, because it is read for every
 * packet; IPv4 in IPv6 is IPv4.
 */
export function createSourceReader(): (address: string) => Uint8Array {
  const ipv4 = new Uint8Array(4);
  return (address) => {
    if (readIpv4(address, ipv4)) return ipv4;
    if (address.startsWith('::ffff:') && readIpv4(address.slice(7), ipv4)) return ipv4;
    const [withoutZone = ''] = address.split('%');
    return addressBytes(withoutZone) ?? UNREADABLE;
  };
}

function readIpv4(address: string, into: Uint8Array): boolean {
  let part = 0;
  let value = 0;
  for (let index = 0; index < address.length; index += 1) {
    const digit = address.charCodeAt(index) - 48;
    if (digit >= 0 && digit <= 9) value = value * 10 + digit;
    else if (digit === -2 && part < 3) {
      into[part] = value;
      part += 1;
      value = 0;
    } else return false;
  }
  into[part] = value;
  return part === 3;
}

/** The network that a source's connections are counted for: its /24 or /56, as text. */
export function networkOf(source: Uint8Array): string {
  return source.subarray(0, source.length === 4 ? 3 : 7).join('.');
}
