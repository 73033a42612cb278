/**
 * A command's view of the operators' directory: which files there are, read and checked. The layout is in docs/fleet.md.
 */
import { ok } from '../../system/result.ts';
import { type CommandIo, misused, type Outcome, refused, type Words } from '../commands/command.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { openManifest } from '../manifest/signed.ts';
import { type OperatorDirectory, openDirectory, readFile } from './directory.ts';
import { DRAFT_FILE, type Draft, draftText, parseDraft } from './draft.ts';
import { passphraseOf } from './passphrase.ts';
import { lockVault, openVault, type Vault } from './vault.ts';

const DIRECTORY_DEFAULT = 'fleet-keys';
export const VAULT_FILE = 'operators.jwe';
/** The public half of the key that signs manifests: `archipelago:manifestKey`. */
export const OPERATORS_KEY_FILE = 'operators.pub';
export const MANIFEST_FILE = 'manifest.jws';
/** While one key of the operators replaces another: the new one, and the same manifest signed with it. */
export const NEXT_OPERATORS_KEY_FILE = 'operators-next.pub';
export const NEXT_MANIFEST_FILE = 'manifest-next.jws';

/** Flags of every command that works in the directory. */
export const DIRECTORY_FLAGS = { dir: 'value' } as const;
/** Flags of every command that opens the vault. */
export const VAULT_FLAGS = { dir: 'value', 'passphrase-file': 'value' } as const;

export interface SignedManifest {
  /** As it was signed. */
  readonly signed: string;
  /** The same, signed with the key that replaces the operators' present one. */
  readonly signedNext: string | undefined;
  readonly manifest: Manifest;
}

export interface Workspace {
  readonly directory: OperatorDirectory;
  readonly draft: Draft;
  /** The last manifest that was signed here; undefined before the first. */
  readonly inForce: SignedManifest | undefined;
}

export interface OpenVault {
  readonly vault: Vault;
  /** The file's text with another content, under the same passphrase. */
  lock(vault: Vault): Promise<string>;
}

/** The directory that `--dir` names. */
export function directoryPath(given: Words): string {
  return given.flags.get('dir') ?? DIRECTORY_DEFAULT;
}

/** Opens the directory, lets `work` have it, and closes it again. */
export async function inWorkspace<Value>(
  given: Words,
  work: (workspace: Workspace) => Promise<Outcome<Value>>,
): Promise<Outcome<Value>> {
  const opened = openDirectory(directoryPath(given));
  if (!opened.ok) return refused(opened.fault);
  const directory = opened.value;
  try {
    const text = directory.read(DRAFT_FILE);
    if (text === undefined)
      return misused(`${directory.path} has no ${DRAFT_FILE}: make one with \`fleet init\`.`);
    const draft = parseDraft(text);
    if (!draft.ok) return misused(`${directory.path} has faults:`, ...draft.fault);
    const inForce = await readManifest(directory.path);
    if (!inForce.ok) return inForce;
    return await work({ directory, draft: draft.value, inForce: inForce.value });
  } finally {
    directory.close();
  }
}

/** The last manifest signed in this directory, verified; undefined when there is none. Keeps nobody out. */
async function readManifest(path: string): Promise<Outcome<SignedManifest | undefined>> {
  const signed = readFile(path, MANIFEST_FILE)?.trim();
  if (signed === undefined) return ok(undefined);
  const key = operatorsKey(path);
  if (!key.ok) return key;
  const opened = await openManifest(signed, key.value, 1);
  return opened.ok
    ? ok({ signed, signedNext: readFile(path, NEXT_MANIFEST_FILE)?.trim(), manifest: opened.value })
    : misused(`${path}/${MANIFEST_FILE} is not believed:`, ...opened.fault.details);
}

/** The same, for commands that cannot do without. */
export async function needManifest(path: string): Promise<Outcome<SignedManifest>> {
  const read = await readManifest(path);
  if (!read.ok) return read;
  return read.value === undefined
    ? misused(`${path} has no signed manifest: \`fleet sign\` makes one, or name the directory with --dir.`)
    : ok(read.value);
}

/** The operators' public keys: one, or two while the second replaces the first. */
export function operatorsKeys(path: string): Outcome<readonly string[]> {
  const key = operatorsKey(path);
  const next = readFile(path, NEXT_OPERATORS_KEY_FILE)?.trim();
  return key.ok ? ok(next === undefined ? [key.value] : [key.value, next]) : key;
}

/** The operators' public key, 32 bytes as base64url. */
export function operatorsKey(path: string): Outcome<string> {
  const key = readFile(path, OPERATORS_KEY_FILE)?.trim();
  return key !== undefined && /^[A-Za-z0-9_-]{43}$/.test(key)
    ? ok(key)
    : misused(
        `${path}/${OPERATORS_KEY_FILE}: expected the operators' public key, 43 characters of base64url.`,
      );
}

/** Opens the vault with the passphrase that was given or is asked for. */
export async function unlock(
  directory: OperatorDirectory,
  given: Words,
  io: CommandIo,
): Promise<Outcome<OpenVault>> {
  const sealed = directory.read(VAULT_FILE);
  if (sealed === undefined) {
    return misused(
      `${directory.path} has no ${VAULT_FILE}: the operators' keys are elsewhere, name that with --dir.`,
    );
  }
  const passphrase = await passphraseOf(given, io);
  if (!passphrase.ok) return passphrase;
  const opened = await openVault(sealed, passphrase.value);
  if (!opened.ok) return refused(opened.fault);
  const { vault, iterations } = opened.value;
  return ok({ vault, lock: async (next) => await lockVault(next, passphrase.value, iterations) });
}

/** The change that keeps a draft. */
export function draftChange(draft: Draft): readonly [string, string] {
  return [DRAFT_FILE, draftText(draft)];
}
