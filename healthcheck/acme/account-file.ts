/**
 * The account's key and URL on this machine: the key is made once, unless the operators gave one, and the URL is known
 * again after a restart, so that a status can always tell what a CAA record must name.
 */
import { generateKeyPairSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { writeWhole } from '../../system/whole-file.ts';
import { objectOf } from './fault.ts';
import { parseJson } from './session.ts';
import { type AcmeConfig, parseAccountKey } from './settings.ts';

export interface KnownAccount {
  readonly key: JWK;
  /** Undefined until the authority of today has told it. */
  readonly url: string | undefined;
}

const KEY_FILE = 'acme-account.key';
const URL_FILE = 'acme-account.json';

/** Rejects when a key has to be made and cannot be kept: an account whose key is lost cannot be used again. */
export async function readAccount(stateDir: string, config: AcmeConfig): Promise<KnownAccount> {
  const saved = objectOf(parseJson(await readFile(join(stateDir, URL_FILE), 'utf8').catch(() => '')));
  const url = saved['directory'] === config.directoryUrl ? saved['account'] : undefined;
  const key = config.accountKey ?? (await ownKey(join(stateDir, KEY_FILE)));
  return { key, url: typeof url === 'string' ? url : undefined };
}

/** Rejects with the system's error. */
export async function writeAccountUrl(
  stateDir: string,
  { directoryUrl }: AcmeConfig,
  account: string,
): Promise<void> {
  await writeWhole(join(stateDir, URL_FILE), JSON.stringify({ directory: directoryUrl, account }));
}

async function ownKey(path: string): Promise<JWK> {
  const kept = parseAccountKey(await readFile(path, 'utf8').catch(() => ''));
  if (kept !== undefined) return kept;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeWhole(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return privateKey.export({ format: 'jwk' });
}
