/**
 * What a fleet has before it has a site: the operators' keys, the keys of those on call, and an empty draft, as the
 * files of a new operators' directory.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { JWK } from 'jose';
import type { Random } from '../../system/random.ts';
import type { OnCallKey } from '../manifest/manifest.ts';
import { DRAFT_FILE, type Draft, draftText, emptyDraft } from './draft.ts';
import { makeRing } from './ring.ts';
import { lockVault, makeVault, type Vault } from './vault.ts';
import { OPERATORS_KEY_FILE, VAULT_FILE } from './workspace.ts';

export interface NewFleet {
  readonly zone: string;
  readonly port: number;
  /** Names of those on call. */
  readonly onCall: readonly string[];
  readonly passphrase: string;
  /** See `lockVault`. */
  readonly iterations: number;
  readonly random: Random;
}

export interface MadeFleet {
  readonly draft: Draft;
  readonly vault: Vault;
  /** The files of the directory. */
  readonly files: ReadonlyMap<string, string>;
}

/** Makes all keys anew. */
export async function makeFleet(options: NewFleet): Promise<MadeFleet> {
  const onCall = options.onCall.map((name) => makeOnCallKey(name));
  const vault = makeVault(makeRing(options.random));
  const draft = emptyDraft(
    options.zone,
    options.port,
    onCall.map(({ entry }) => entry),
  );
  return {
    draft,
    vault,
    files: new Map([
      [VAULT_FILE, await lockVault(vault, options.passphrase, options.iterations)],
      [OPERATORS_KEY_FILE, `${vault.manifestKey.x}\n`],
      [DRAFT_FILE, draftText(draft)],
      ...onCall.map(({ entry, text }): readonly [string, string] => [onCallPath(entry.name), text]),
    ]),
  };
}

/** A key of somebody on call: what the manifest says of it, and the text of its file, an Ed25519 JWK. */
export function makeOnCallKey(name: string): { readonly entry: OnCallKey; readonly text: string } {
  const jwk: JWK = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return {
    entry: { name, publicKey: jwk.x ?? '' },
    text: `${JSON.stringify({ ...jwk, kid: name })}\n`,
  };
}

/** Where a key of somebody on call is in the operators' directory. */
export function onCallPath(name: string): string {
  return `on-call/${name}.jwk`;
}
