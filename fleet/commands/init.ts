/**
 * `fleet init`: makes the operators' directory, with all keys that are nobody's but theirs.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ok } from '../../system/result.ts';
import { makeDirectory } from '../operator/directory.ts';
import { DRAFT_FILE, draftFaults } from '../operator/draft.ts';
import { makeFleet, onCallPath } from '../operator/new-fleet.ts';
import { newPassphrase } from '../operator/passphrase.ts';
import { ITERATIONS } from '../operator/vault.ts';
import { directoryPath, VAULT_FILE, VAULT_FLAGS } from '../operator/workspace.ts';
import { DONE, misused, type OperatorCommand, operatorCommand, refused } from './command.ts';

const PORT = 443;
const ON_CALL_MAX = 8;

export const initCommand: OperatorCommand = operatorCommand({
  help: `  init --zone ZONE [--on-call NAME[,NAME...]] [--dir DIR] [--passphrase-file FILE] [--json]
      Makes DIR (fleet-keys) with the operators' keys under a passphrase, and a key for everybody on call.`,
  flags: { ...VAULT_FLAGS, zone: 'value', 'on-call': 'value', json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) => {
    const zone = given.flags.get('zone')?.replace(/\.$/, '');
    if (zone === undefined)
      return misused('init needs --zone ZONE, the zone that is to be delegated, such as relay.example.com.');
    const onCall = (given.flags.get('on-call') ?? '').split(',').filter((name) => name !== '');
    const unfit = onCall.find((name) => !/^[a-z][a-z0-9-]{0,31}$/.test(name));
    if (unfit !== undefined) {
      return misused(
        `--on-call: expected names of a-z 0-9 -, beginning with a letter, got ${JSON.stringify(unfit)}.`,
      );
    }
    if (onCall.length > ON_CALL_MAX || new Set(onCall).size < onCall.length) {
      return misused(`--on-call: expected at most ${ON_CALL_MAX} different names.`);
    }
    const path = directoryPath(given);
    if (existsSync(join(path, VAULT_FILE)) || existsSync(join(path, DRAFT_FILE))) {
      return refused(`${path} has a fleet already: name another directory with --dir.`);
    }
    const passphrase = await newPassphrase(given, io);
    if (!passphrase.ok) return passphrase;
    const made = await makeFleet({
      zone,
      port: PORT,
      onCall,
      passphrase: passphrase.value,
      iterations: ITERATIONS,
      random: io.random,
    });
    const faults = draftFaults(made.draft);
    if (faults.length > 0) return misused(`--zone ${zone} cannot be a zone:`, ...faults);
    const directory = makeDirectory(path);
    if (!directory.ok) return refused(directory.fault);
    directory.value.change(made.files);
    directory.value.close();
    if (given.flags.has('json')) {
      io.print(JSON.stringify({ directory: path, zone, manifestKey: made.vault.manifestKey.x, onCall }));
      return ok(DONE);
    }
    io.print(
      `${path} has the keys of a new fleet for ${zone}. Make a backup of ${VAULT_FILE}, and one of the passphrase elsewhere.`,
    );
    for (const name of onCall)
      io.print(`Give ${join(path, onCallPath(name))} to ${name}, and to nobody else.`);
    io.print(`In every stack: pulumi config set archipelago:manifestKey ${made.vault.manifestKey.x}`);
    io.print('Next: fleet add-site, once for every site.');
    return ok(DONE);
  },
});
