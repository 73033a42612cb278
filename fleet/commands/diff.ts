/**
 * `fleet diff`: what would change for clients if the draft were signed now. Changes nothing.
 */
import { ok } from '../../system/result.ts';
import { propose, show } from '../operator/ceremony.ts';
import { inWorkspace, unlock, VAULT_FLAGS } from '../operator/workspace.ts';
import { DONE, type OperatorCommand, operatorCommand, REFUSED } from './command.ts';

export const diffCommand: OperatorCommand = operatorCommand({
  help: `  diff [--dir DIR] [--passphrase-file FILE] [--json]
      What signing the draft would change: who is in the answer, which providers remain, keys, policy.
      Exit code 2 when \`sign\` would refuse it.`,
  flags: { ...VAULT_FLAGS, json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) =>
    await inWorkspace(given, async (workspace) => {
      const open = await unlock(workspace.directory, given, io);
      if (!open.ok) return open;
      const proposal = await propose(workspace, open.value, given, io);
      if (!proposal.ok) return proposal;
      show(proposal.value, given, io);
      if (!given.flags.has('json')) {
        for (const { check, detail } of proposal.value.faults)
          io.print(`sign would refuse ${check}: ${detail}`);
      }
      return ok(proposal.value.faults.length === 0 ? DONE : REFUSED);
    }),
});
