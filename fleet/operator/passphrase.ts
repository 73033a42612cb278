/**
 * Where the passphrase of the vault comes from: a file that is named, the environment, or a person who types it unseen.
 * Never from a word of the command line, which everybody on the machine can read.
 */
import { readFileSync } from 'node:fs';
import { ok } from '../../system/result.ts';
import { type CommandIo, misused, type Outcome, refused, type Words } from '../commands/command.ts';
import { PASSPHRASE_LENGTH_MIN } from './vault.ts';

const ENVIRONMENT = 'FLEET_PASSPHRASE';

/** The passphrase of an existing vault. */
export async function passphraseOf(given: Words, io: CommandIo): Promise<Outcome<string>> {
  const known = withoutAsking(given, io);
  if (!known.ok || known.value !== undefined) return known as Outcome<string>;
  if (io.terminal === undefined) return refused(nobodyToAsk());
  return ok(await io.terminal.askSecret("Passphrase of the operators' keys: "));
}

/** A passphrase for a new vault, typed twice. */
export async function newPassphrase(given: Words, io: CommandIo): Promise<Outcome<string>> {
  const known = withoutAsking(given, io);
  if (!known.ok) return known;
  let passphrase = known.value;
  if (passphrase === undefined) {
    if (io.terminal === undefined) return refused(nobodyToAsk());
    passphrase = await io.terminal.askSecret("A passphrase for the operators' keys: ");
    if (passphrase !== (await io.terminal.askSecret('The same again: '))) {
      return refused('The two passphrases differ. Nothing was changed.');
    }
  }
  return passphrase.length < PASSPHRASE_LENGTH_MIN
    ? refused(
        `The passphrase has to have ${PASSPHRASE_LENGTH_MIN} characters or more; five random words are good.`,
      )
    : ok(passphrase);
}

function withoutAsking(given: Words, { environment }: CommandIo): Outcome<string | undefined> {
  const file = given.flags.get('passphrase-file');
  if (file === undefined) {
    const value = environment[ENVIRONMENT];
    return ok(value === '' ? undefined : value);
  }
  try {
    return ok(readFileSync(file, 'utf8').split(/\r?\n/)[0] ?? '');
  } catch {
    return misused(`--passphrase-file: ${file} cannot be read.`);
  }
}

function nobodyToAsk(): string {
  return `The passphrase cannot be asked for here: name a file (--passphrase-file FILE) or set ${ENVIRONMENT}.`;
}
