/**
 * The secret files of a site: which each role must have, and the one line in which they travel to a machine.
 *
 * A role gets its own files and no others, so that a nameserver that is broken into gives away no key of the relays.
 */
import { type Faults, fieldsOf } from './faults.ts';
import type { Role, SecretFiles, SiteSpec } from './site.ts';

interface FileList {
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

/** Mean nothing to a nameserver without an authority, and go to none then, although `fleet add-site` makes one. */
const ACME_FILES = ['acme-account-key', 'acme-binding', 'acme-ca'];

/** Hetzner does not encrypt volumes, so there the machine does, with a key of the operators. */
function filesOf(role: Role, provider: SiteSpec['provider']): FileList {
  switch (role) {
    case 'relay':
      return {
        required: ['peer-certificate', 'peer-key', 'operator-tokens', 'redis-password'],
        // The certificate may come from an authority, and what all relays share is sealed in the manifest.
        optional: ['tls-certificate', 'tls-key', 'secrets'],
      };
    case 'redis':
      return {
        required: provider === 'hetzner' ? ['redis-password', 'disk-key'] : ['redis-password'],
        optional: [],
      };
    case 'nameserver':
      return {
        required: ['vote-key', 'tls-certificate', 'tls-key'],
        optional: ['zone-key', 'operator-token', ...ACME_FILES],
      };
  }
}

/**
 * Reads `archipelago:secrets`: site → role → file → content. No fault repeats a content. `hasAuthority` says whether
 * the certificates of the relays come from an authority.
 */
export function parseSecrets(
  value: unknown,
  sites: readonly Pick<SiteSpec, 'name' | 'provider'>[],
  hasAuthority: boolean,
  faults: Faults,
): Readonly<Record<string, SecretFiles>> {
  const given = fieldsOf(value);
  faults.unknownFields(
    'secrets',
    given,
    sites.map(({ name }) => name),
  );
  const result: Record<string, SecretFiles> = {};
  for (const { name, provider } of sites) {
    const ofSite = fieldsOf(given.get(name));
    faults.unknownFields(`secrets.${name}`, ofSite, ['relay', 'redis', 'nameserver']);
    const ofRole = (role: Role): Record<string, string> =>
      contents(`secrets.${name}.${role}`, ofSite.get(role), filesOf(role, provider), faults);
    const files = { relay: ofRole('relay'), redis: ofRole('redis'), nameserver: ofRole('nameserver') };
    if (!hasAuthority) for (const file of ACME_FILES) delete files.nameserver[file];
    checkCertificate(`secrets.${name}.relay`, files.relay, hasAuthority, faults);
    if (files.relay['redis-password'] !== files.redis['redis-password']) {
      faults.add(
        `secrets.${name}.redis.redis-password`,
        'differs from that of the relays',
        '< redis-password',
        '--secret ',
      );
    }
    result[name] = files;
  }
  return result;
}

/** Relays have both halves of a certificate, or neither and an authority. */
function checkCertificate(
  at: string,
  files: Readonly<Record<string, string>>,
  hasAuthority: boolean,
  faults: Faults,
): void {
  const missing = ['tls-certificate', 'tls-key'].filter((file) => files[file] === undefined);
  if (missing.length === 0 || (missing.length === 2 && hasAuthority)) return;
  const problem = 'expected the content of a file, or archipelago:acme.directory and neither of both files';
  for (const file of missing) faults.add(`${at}.${file}`, problem, `< ${file}`, '--secret ');
}

function contents(
  at: string,
  value: unknown,
  { required, optional }: FileList,
  faults: Faults,
): Record<string, string> {
  const given = fieldsOf(value);
  faults.unknownFields(at, given, [...required, ...optional]);
  const files: Record<string, string> = {};
  for (const name of [...required, ...optional]) {
    const content = given.get(name);
    if (typeof content === 'string' && content !== '') files[name] = content;
    else if (required.includes(name) || given.has(name)) {
      faults.add(`${at}.${name}`, 'expected the content of a file', `< ${name}`, '--secret ');
    }
  }
  const password = files['redis-password'];
  if (password !== undefined && !/^[A-Za-z0-9_-]{22,128}\n?$/.test(password)) {
    faults.add(
      `${at}.redis-password`,
      'expected 22 to 128 characters of A-Z a-z 0-9 _ -',
      '< redis-password',
      '--secret ',
    );
  }
  return files;
}

/** `name:base64,name:base64`: one line that needs no quoting in JSON, in a shell or in an answer of an API. */
export function bundleOf(files: Readonly<Record<string, string>>): string {
  return Object.entries(files)
    .map(([name, content]) => `${name}:${Buffer.from(content).toString('base64')}`)
    .join(',');
}
