/**
 * Where the sites' nameservers get the certificate of their relays, when it does not come as files: an authority that
 * speaks ACME. docs/certificates.md has what they do with it.
 */
import { type Faults, fieldsOf } from './faults.ts';

/** Settings of a nameserver, by their full names. */
export type NameserverSettings = Readonly<Record<string, string>>;

const DIRECTORY = /^https:\/\/[A-Za-z0-9.:-]{1,253}(\/[A-Za-z0-9._~/-]{0,500})?$/;
const EXAMPLE = 'https://acme-v02.api.letsencrypt.org/directory';

/** Reads `archipelago:acme`: `directory`, and if it is there `contact` and `profile`. Empty when nothing is given. */
export function parseAcme(value: unknown, faults: Faults): NameserverSettings {
  const given = fieldsOf(value);
  if (given.size === 0) return {};
  faults.unknownFields('acme', given, ['directory', 'contact', 'profile']);
  const settings: Record<string, string> = {};
  const take = (field: string, pattern: RegExp, expected: string, example: string): void => {
    const text = given.get(field);
    if (typeof text === 'string' && pattern.test(text))
      settings[`VANTAGE_ACME_${field.toUpperCase()}`] = text;
    else faults.add(`acme.${field}`, `expected ${expected}`, example);
  };
  take('directory', DIRECTORY, 'the https address of an ACME directory', EXAMPLE);
  if (given.has('contact')) {
    take('contact', /^mailto:[\w.+-]+@[\w.-]+$/, 'an address for mail', 'mailto:ops@example.com');
  }
  if (given.has('profile')) take('profile', /^[\w.-]{1,64}$/, 'a profile of the authority', 'shortlived');
  return settings;
}
