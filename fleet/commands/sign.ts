/**
 * `fleet sign`: makes the draft a manifest with the next version. Nothing at any node changes before `fleet push`.
 */
import { ok } from '../../system/result.ts';
import { SIGNING_FLAGS, signWithCare } from '../operator/ceremony.ts';
import { SANITY_CHECKS } from '../operator/sanity.ts';
import { inWorkspace, unlock } from '../operator/workspace.ts';
import { DONE, type OperatorCommand, operatorCommand } from './command.ts';

export const signCommand: OperatorCommand = operatorCommand({
  help: `  sign [--yes] [--despite CHECK[,CHECK...]] [--version N] [--dir DIR] [--passphrase-file FILE] [--json]
      Shows what would change, refuses what fails a check, asks, signs. The checks, which docs/fleet.md describes:
      ${Object.keys(SANITY_CHECKS).join(', ')}.`,
  flags: SIGNING_FLAGS,
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) =>
    await inWorkspace(given, async (workspace) => {
      const open = await unlock(workspace.directory, given, io);
      if (!open.ok) return open;
      const signed = await signWithCare(workspace, open.value, given, io);
      if (!signed.ok) return signed;
      if (!given.flags.has('json'))
        io.print(`Version ${signed.value.manifest.version} is signed. Next: fleet push.`);
      return ok(DONE);
    }),
});
