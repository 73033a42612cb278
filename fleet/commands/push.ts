/**
 * `fleet push`: brings the manifest that was signed last to every nameserver that answers. Doing it again changes
 * nothing.
 */
import { ok } from '../../system/result.ts';
import { HANDING_FLAGS, handOutManifest, nameserversFor, waitMs } from '../operator/handing-out.ts';
import { isNamed, ON_CALL_FLAGS, onCallOf } from '../operator/on-call.ts';
import { directoryPath, needManifest } from '../operator/workspace.ts';
import { type OperatorCommand, operatorCommand } from './command.ts';

export const pushCommand: OperatorCommand = operatorCommand({
  help: `  push [--wait SECONDS] [--at ADDRESS:PORT[,...]] [--as NAME] [--dir DIR] [--json]
      Brings the signed manifest to all nameservers, or to those --at; they pass it on. With --wait, until all that
      answer hold it, and with the key of somebody on call all relays too.`,
  flags: { ...HANDING_FLAGS, ...ON_CALL_FLAGS, json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async (given, io) => {
    const signed = await needManifest(directoryPath(given));
    if (!signed.ok) return signed;
    const nameservers = nameserversFor(given, signed.value.manifest);
    if (!nameservers.ok) return nameservers;
    const withinMs = waitMs(given);
    if (!withinMs.ok) return withinMs;
    const onCall = await onCallOf(given, io);
    if (!onCall.ok && isNamed(given)) return onCall;
    const handing = {
      nameservers: nameservers.value,
      withinMs: withinMs.value,
      identity: onCall.ok ? onCall.value.identity : undefined,
    };
    return ok(await handOutManifest(signed.value, handing, given, io));
  },
});
