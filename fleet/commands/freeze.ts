/**
 * `fleet freeze` and `fleet unfreeze`: stop all automation for a while. For when the checking itself is what is wrong.
 */
import { ok } from '../../system/result.ts';
import { forMs, sayOnCall, WORD_FLAGS } from '../operator/word-on-call.ts';
import { type OperatorCommand, operatorCommand, refused } from './command.ts';

const NO_WORDS = { min: 0, max: 0, what: 'no words beside its flags' } as const;

export const freezeCommand: OperatorCommand = operatorCommand({
  help: `  freeze --for TIME [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      No measurement changes an answer for TIME (at most 24h), signed by who is on call. Drains still count.`,
  flags: { ...WORD_FLAGS, for: 'value' },
  words: NO_WORDS,
  run: async (given, io) => {
    const lasting = forMs(given);
    if (!lasting.ok) return lasting;
    return await sayOnCall(
      (before, _manifest, wallMs) => ok({ ...before, frozenUntilWallMs: wallMs + lasting.value }),
      given,
      io,
    );
  },
});

export const unfreezeCommand: OperatorCommand = operatorCommand({
  help: `  unfreeze [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      Takes back what somebody on call froze. What the operators signed into the manifest stays.`,
  flags: WORD_FLAGS,
  words: NO_WORDS,
  run: async (given, io) =>
    await sayOnCall(
      (before, { overrides: signed }, wallMs) => {
        if (before.frozenUntilWallMs !== null) return ok({ ...before, frozenUntilWallMs: null });
        return (signed.frozenUntilWallMs ?? 0) > wallMs
          ? refused('The manifest itself freezes the fleet: take it out of fleet.json, sign, push.')
          : refused('Nobody on call has frozen anything.');
      },
      given,
      io,
    ),
});
