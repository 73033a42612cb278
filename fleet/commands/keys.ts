/**
 * `fleet keys`: which keys there are, and the steps by which each is replaced. Every step only changes the draft; it
 * takes effect like any other change, by `fleet sign` and `fleet push`.
 */
import { ok, type Result } from '../../system/result.ts';
import type { OperatorDirectory } from '../operator/directory.ts';
import { draftFaults } from '../operator/draft.ts';
import {
  addOnCall,
  type Keys,
  keyText,
  listKeys,
  mintWithRingKey,
  newRingKey,
  removeOnCall,
  retireRingKey,
  type Step,
  turnManifestKey,
  turnOperatorsZoneKey,
  turnZoneKey,
} from '../operator/key-rotation.ts';
import { draftChange, inWorkspace, unlock, VAULT_FILE, VAULT_FLAGS } from '../operator/workspace.ts';
import {
  type CommandIo,
  DONE,
  misused,
  type OperatorCommand,
  type Outcome,
  operatorCommand,
  refused,
  type Words,
} from './command.ts';

export const keysCommand: OperatorCommand = operatorCommand({
  help: `  keys list | keys rotate ring [ID --mint | ID --retire] | keys rotate zone-key SITE [--retire | --at-once]
       | keys rotate ksk [--retire] | keys rotate operators [--retire] | keys on-call NAME [--remove]
       [--dir DIR] [--passphrase-file FILE] [--json]
      Which keys there are, and the next step by which one is replaced; then sign and push as ever.`,
  flags: {
    ...VAULT_FLAGS,
    mint: 'alone',
    retire: 'alone',
    'at-once': 'alone',
    remove: 'alone',
    json: 'alone',
  },
  words: {
    min: 1,
    max: 3,
    what: 'what to do: list, rotate ring|zone-key SITE|ksk|operators, or on-call NAME',
  },
  run: async (given, io) =>
    await inWorkspace(given, async ({ directory, draft }) => {
      const open = await unlock(directory, given, io);
      if (!open.ok) return open;
      const keys = { draft, vault: open.value.vault };
      const isJson = given.flags.has('json');
      const words = given.positional.join(' ');
      if (words === 'list') {
        const listed = listKeys(keys);
        if (isJson) io.print(JSON.stringify({ keys: listed }));
        else for (const one of listed) io.print(keyText(one));
        return ok(DONE);
      }
      const step = stepOf(keys, directory, given, io);
      if (!step.ok) return step;
      const faults = draftFaults(step.value.draft);
      if (faults.length > 0) return refused(...faults);
      directory.change(
        new Map([
          ...step.value.files,
          draftChange(step.value.draft),
          [VAULT_FILE, await open.value.lock(step.value.vault)],
        ]),
      );
      if (isJson) io.print(JSON.stringify({ step: words, lines: step.value.lines }));
      else for (const line of step.value.lines) io.print(line);
      return ok(DONE);
    }),
});

function stepOf(
  keys: Keys,
  directory: Pick<OperatorDirectory, 'read'>,
  given: Words,
  io: CommandIo,
): Outcome<Step> {
  const [verb = '', kind = '', name] = given.positional;
  const has = (flag: string): boolean => given.flags.has(flag);
  const step = (result: Result<Step, string>): Outcome<Step> => (result.ok ? result : refused(result.fault));
  if (verb === 'on-call' && name === undefined) {
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(kind)) {
      return misused(
        `A name has 1 to 32 of a-z 0-9 -, beginning with a letter; got ${JSON.stringify(kind)}.`,
      );
    }
    return has('remove') ? step(removeOnCall(keys, kind)) : ok(addOnCall(keys, kind));
  }
  if (verb === 'rotate' && kind === 'ring') {
    if (name === undefined && !has('mint') && !has('retire')) return step(newRingKey(keys, io.random));
    if (name === undefined || has('mint') === has('retire')) {
      return misused(
        'keys rotate ring takes the id of a key with --mint or --retire; `fleet keys list` shows the ids.',
      );
    }
    return step(has('mint') ? mintWithRingKey(keys, name) : retireRingKey(keys, name));
  }
  if (verb === 'rotate' && kind === 'operators' && name === undefined) {
    return step(turnManifestKey(keys, { retire: has('retire') }, directory));
  }
  if (verb === 'rotate' && kind === 'zone-key' && name !== undefined) {
    return step(turnZoneKey(keys, name, { retire: has('retire'), atOnce: has('at-once') }));
  }
  if (verb === 'rotate' && kind === 'ksk' && name === undefined) {
    return step(turnOperatorsZoneKey(keys, { retire: has('retire') }));
  }
  return misused(
    `keys does not know ${JSON.stringify(given.positional.join(' '))}. It is used so:`,
    keysCommand.help,
  );
}
