/**
 * `fleet delegation`: what the registrar of the parent zone has to have, of the manifest that was signed last.
 */
import { ok } from '../../system/result.ts';
import { delegationOf, delegationText } from '../operator/delegation.ts';
import { DIRECTORY_FLAGS, directoryPath, needManifest } from '../operator/workspace.ts';
import { DONE, type OperatorCommand, operatorCommand } from './command.ts';

export const delegationCommand: OperatorCommand = operatorCommand({
  help: `  delegation [--dir DIR] [--json]
      NS, glue and DS records for the registrar of the parent zone, of the manifest that was signed last.`,
  flags: { ...DIRECTORY_FLAGS, json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) => {
    const signed = await needManifest(directoryPath(given));
    if (!signed.ok) return signed;
    const delegation = delegationOf(signed.value.manifest);
    if (given.flags.has('json')) io.print(JSON.stringify(delegation));
    else for (const line of delegationText(delegation)) io.print(line);
    return ok(DONE);
  },
});
