/**
 * `fleet drop`: takes a site out of the fleet, with all that it knew, in one step that needs neither its provider nor
 * any other: the manifest without it is signed and handed to the nameservers that are left.
 */
import { ok } from '../../system/result.ts';
import { SIGNING_FLAGS, signWithCare } from '../operator/ceremony.ts';
import { copiesBesides } from '../operator/copies.ts';
import {
  HANDING_FLAGS,
  type HandingOut,
  handOutManifest,
  nameserversFor,
  waitMs,
} from '../operator/handing-out.ts';
import { isNamed, ON_CALL_FLAGS, onCallOf } from '../operator/on-call.ts';
import { remainsOf, remainsText } from '../operator/remains.ts';
import { mintingWith, withNewKey } from '../operator/ring.ts';
import { withoutSite } from '../operator/site-keys.ts';
import { draftChange, inWorkspace, type OpenVault, unlock, type Workspace } from '../operator/workspace.ts';
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

export const dropCommand: OperatorCommand = operatorCommand({
  help: `  drop SITE [--yes] [--wait SECONDS] [--despite CHECK[,CHECK...]] [--as NAME] [--at ADDRESS:PORT[,...]]
       [--version N] [--dir DIR] [--passphrase-file FILE] [--json]
      Signs and hands out a manifest without SITE and its keys, with a new ring key for the others, and says what
      remains to be done. Works while its provider, API and network are gone. With the key of somebody on call (--as) it
      asks first whether another site lacks copies, and refuses then (--despite copies_missing).`,
  flags: { ...SIGNING_FLAGS, ...HANDING_FLAGS, ...ON_CALL_FLAGS },
  words: { min: 1, max: 1, what: 'the name of one site' },
  run: async (given, io) =>
    await inWorkspace(given, async (workspace) => {
      const [name = ''] = given.positional;
      const { draft, directory, inForce } = workspace;
      const names = draft.manifest.sites.map((site) => site.name);
      if (!names.includes(name)) {
        return misused(`There is no site ${JSON.stringify(name)}; there are ${names.join(', ') || 'none'}.`);
      }
      const isSigned = inForce?.manifest.sites.some((site) => site.name === name) === true;
      if (!isSigned) {
        directory.change(new Map([draftChange(withoutSite(draft, name))]));
        io.print(`${name} was in no signed manifest: it is taken out of the draft, and that is all.`);
        return ok(DONE);
      }
      // Before anything is signed: a slip in a flag must not leave a manifest that nobody was given.
      const whom = await whomToTell(workspace, given, io);
      if (!whom.ok) return whom;
      const copies = await checkCopies(name, whom.value, given);
      if (!copies.ok) return copies;
      const open = await unlock(directory, given, io);
      return open.ok ? await drop(name, workspace, open.value, whom.value, given, io) : open;
    }),
});

/**
 * Who is there now, how long to wait for them, and as whom to ask: undefined is nobody, because nothing may stand in the
 * way of who has only the vault.
 */
async function whomToTell({ inForce }: Workspace, given: Words, io: CommandIo): Promise<Outcome<HandingOut>> {
  const nameservers = inForce === undefined ? ok([]) : nameserversFor(given, inForce.manifest);
  if (!nameservers.ok) return nameservers;
  const withinMs = waitMs(given);
  if (!withinMs.ok) return withinMs;
  const onCall = await onCallOf(given, io);
  if (!onCall.ok && isNamed(given)) return onCall;
  const identity = onCall.ok ? onCall.value.identity : undefined;
  return ok({ nameservers: nameservers.value, withinMs: withinMs.value, identity });
}

/** Without the key of somebody on call nobody is asked. */
async function checkCopies(
  name: string,
  { nameservers, identity }: HandingOut,
  given: Words,
): Promise<Outcome<void>> {
  const isWaived = (given.flags.get('despite') ?? '').split(',').includes('copies_missing');
  return isWaived || identity === undefined
    ? ok(undefined)
    : await copiesBesides(name, nameservers, identity);
}

async function drop(
  name: string,
  workspace: Workspace,
  open: OpenVault,
  whom: HandingOut,
  given: Words,
  io: CommandIo,
): Promise<Outcome<number>> {
  const gone = workspace.inForce?.manifest.sites.find((site) => site.name === name);
  const added = withNewKey(open.vault.ring, io.random);
  if (!added.ok) return refused(added.fault);
  const ring = mintingWith(added.value.ring, added.value.id);
  if (!ring.ok) return refused(ring.fault);
  const vault = { ...open.vault, ring: ring.value };
  const after = { ...workspace, draft: withoutSite(workspace.draft, name) };
  const signed = await signWithCare(after, { ...open, vault }, given, io);
  if (!signed.ok) return signed;
  const nameservers = nameserversFor(given, signed.value.manifest);
  if (!nameservers.ok) return nameservers;
  const code = await handOutManifest(signed.value, { ...whom, nameservers: nameservers.value }, given, io);
  if (gone !== undefined) {
    const oldKeys = open.vault.ring.capabilityKeys.map(({ id }) => id);
    const remaining = remainsOf(gone, signed.value.manifest, oldKeys);
    if (given.flags.has('json')) io.print(JSON.stringify({ remaining }));
    else for (const line of remainsText(remaining)) io.print(line);
  }
  return ok(code);
}
