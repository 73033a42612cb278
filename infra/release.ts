/**
 * What the machines run: one archive, pinned by its hash. Either a file here, which Pulumi uploads to the site's own
 * object store, or addresses where somebody has put it, or both. The hash makes all of them equal, so whoever hosts
 * the archive needs no trust.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Faults, fieldsOf, stringsOf } from './faults.ts';
import type { Release, SiteSpec } from './site.ts';

const URLS_MAX = 8;
/** Paths in the configuration are relative to the folder of Pulumi.yaml, wherever `pulumi` is called from. */
const ROOT = resolve(import.meta.dirname, '..');

/** The name of an archive in an object store: another for each release, so that one never takes another's place. */
export function archiveName(sha256: string): string {
  return `archipelago-${sha256}.tar.gz`;
}

/** Reads `archipelago:release`: `file`, or `sha256` and `urls`; a file with `urls` has those as further addresses. */
export function parseRelease(
  value: unknown,
  sites: readonly SiteSpec[],
  faults: Faults,
): Release | undefined {
  const given = fieldsOf(value);
  const before = faults.found.length;
  faults.unknownFields('release', given, ['file', 'sha256', 'urls']);
  const file = given.has('file') ? readArchive(given.get('file'), faults) : undefined;
  const sha256 = given.get('sha256') ?? file?.sha256;
  if (typeof sha256 !== 'string' || !/^(?!0{64}$)[0-9a-f]{64}$/.test(sha256)) {
    if (faults.found.length === before) {
      const problem = 'expected the SHA-256 of the release, 64 hexadecimal digits, or release.file';
      faults.add('release.sha256', problem, 'SHA256');
    }
  } else if (file !== undefined && file.sha256 !== sha256) {
    faults.add('release.sha256', `differs from that of release.file, ${file.sha256}`, file.sha256);
  }
  const urls = given.get('urls') ?? [];
  const lonely = file === undefined ? sites : sites.filter(({ provider }) => provider === 'hetzner');
  checkUrls(urls, lonely, faults);
  return faults.found.length > before || typeof sha256 !== 'string'
    ? undefined
    : { sha256, urls: stringsOf(urls), ...(file === undefined ? {} : { file: file.path }) };
}

function readArchive(
  value: unknown,
  faults: Faults,
): { readonly path: string; readonly sha256: string } | undefined {
  const path = resolve(ROOT, typeof value === 'string' ? value : '');
  try {
    return { path, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') };
  } catch {
    const problem = `cannot read ${path}; expected the archive that npm run release makes`;
    faults.add('release.file', problem, 'release/archipelago.tar.gz');
    return undefined;
  }
}

/** `lonely` are the sites that can have the release from these addresses only. */
function checkUrls(value: unknown, lonely: readonly SiteSpec[], faults: Faults): void {
  const example = 'https://example.com/archipelago.tar.gz';
  const urls = stringsOf(value);
  // Spaces and quotes would leave the words of the shell in which these are used.
  const isFit = urls.every((url) => /^https?:\/\/[A-Za-z0-9._~:/?#@!&()*+,;=%[\]-]{1,1000}$/.test(url));
  if (!Array.isArray(value) || urls.length !== value.length || urls.length > URLS_MAX || !isFit) {
    faults.add('release.urls[0]', `expected up to ${URLS_MAX} addresses of the release`, example);
    return;
  }
  if (urls.length > 0) return;
  const [site] = lonely;
  if (site?.provider === 'hetzner') {
    const problem = `expected an address of the release: Pulumi cannot upload it at Hetzner, where ${site.name} is`;
    faults.add('release.urls[0]', problem, example);
  } else if (site !== undefined) {
    faults.add('release.urls[0]', 'expected an address of the release, or release.file', example);
  }
}
