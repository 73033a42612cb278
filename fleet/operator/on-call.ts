/**
 * Who is on call: the key that signs overrides and opens the status of the vantages. It lies in a file without a
 * passphrase, because it is needed at 3 a.m. and can do nothing that does not end within a day.
 */
import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { JWK } from 'jose';
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { ok } from '../../system/result.ts';
import { identityOfKey } from '../certificates.ts';
import { type CommandIo, misused, type Outcome, type Words } from '../commands/command.ts';
import { onCallPath } from './new-fleet.ts';
import { directoryPath } from './workspace.ts';

/** Flags of every command that needs somebody on call. */
export const ON_CALL_FLAGS = { dir: 'value', as: 'value', key: 'value' } as const;

export interface OnCall {
  /** An Ed25519 key with `d`. */
  readonly jwk: JWK & { readonly x: string };
  /** To be shown to a vantage. */
  readonly identity: PinnedIdentity;
}

/** The key that `--key` or `--as` names, or the only one that there is. */
export async function onCallOf(given: Words, io: CommandIo): Promise<Outcome<OnCall>> {
  const file = keyFile(given);
  if (!file.ok) return file;
  let text: string;
  try {
    text = readFileSync(file.value, 'utf8');
  } catch {
    return misused(
      `${file.value} cannot be read; it should be the key of somebody on call (--as NAME, --key FILE).`,
    );
  }
  const jwk = keyIn(text);
  if (jwk === undefined)
    return misused(`${file.value}: expected an Ed25519 private key as JWK, as \`fleet init\` writes it.`);
  return ok({ jwk, identity: await identityOfKey({ wallMs: io.clock.wallMs(), random: io.random }, jwk) });
}

/** Whether somebody on call was named, so that a slip in the name must not pass for nobody. */
export function isNamed(given: Words): boolean {
  return given.flags.has('as') || given.flags.has('key');
}

function keyFile(given: Words): Outcome<string> {
  const path = directoryPath(given);
  const [key, name] = [given.flags.get('key'), given.flags.get('as')];
  if (key !== undefined && name !== undefined) return misused('Say --as or --key, not both.');
  if (key !== undefined) return ok(key);
  if (name !== undefined) return ok(join(path, onCallPath(basename(name))));
  const names = namesIn(join(path, 'on-call'));
  const [only] = names;
  if (only === undefined) {
    return misused(
      `${path} has no key of somebody on call: name one with --key FILE, or the directory with --dir.`,
    );
  }
  return names.length === 1
    ? ok(join(path, onCallPath(only)))
    : misused(`Who are you? Say --as NAME; there are ${names.join(', ')}.`);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith('.jwk'))
      .map((file) => file.slice(0, -'.jwk'.length))
      .toSorted();
  } catch {
    return [];
  }
}

function keyIn(text: string): OnCall['jwk'] | undefined {
  try {
    const { kty, crv, x = '', d = '' } = JSON.parse(text) as JWK;
    const jwk = { kty: kty ?? '', crv: crv ?? '', x, d };
    return createPrivateKey({ key: jwk, format: 'jwk' }).asymmetricKeyType === 'ed25519' ? jwk : undefined;
  } catch {
    return undefined;
  }
}
