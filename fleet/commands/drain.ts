/**
 * `fleet drain` and `fleet undrain`: take clients away from a site for a while, and give them back before it is over.
 */
import { ok } from '../../system/result.ts';
import { overrideOf } from '../manifest/overrides.ts';
import { forMs, sayOnCall, siteIn, WORD_FLAGS } from '../operator/word-on-call.ts';
import { type OperatorCommand, operatorCommand, refused } from './command.ts';

export const drainCommand: OperatorCommand = operatorCommand({
  help: `  drain SITE --for TIME [--hard] [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      Nobody new is sent to SITE for TIME (45m, 2h; at most 24h), signed by who is on call. It may still be given out
      when every other site is down; with --hard not even then.`,
  flags: { ...WORD_FLAGS, for: 'value', hard: 'alone' },
  words: { min: 1, max: 1, what: 'the name of one site' },
  run: async (given, io) => {
    const [name = ''] = given.positional;
    const lasting = forMs(given);
    if (!lasting.ok) return lasting;
    const state = given.flags.has('hard') ? 'drained' : 'draining';
    return await sayOnCall(
      (before, manifest, wallMs) => {
        const site = siteIn(manifest, name);
        if (!site.ok) return site;
        const others = before.sites.filter((one) => one.site !== name);
        const untilWallMs = wallMs + lasting.value;
        return ok({ ...before, sites: [...others, { site: name, state, untilWallMs }] });
      },
      given,
      io,
    );
  },
});

export const undrainCommand: OperatorCommand = operatorCommand({
  help: `  undrain SITE [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      Takes back what somebody on call said of SITE. What the operators signed into the manifest stays.`,
  flags: WORD_FLAGS,
  words: { min: 1, max: 1, what: 'the name of one site' },
  run: async (given, io) => {
    const [name = ''] = given.positional;
    return await sayOnCall(
      (before, manifest, wallMs) => {
        const site = siteIn(manifest, name);
        if (!site.ok) return site;
        if (!before.sites.some((one) => one.site === name)) {
          const signed = overrideOf(name, manifest, wallMs);
          return signed === undefined
            ? refused(`Nobody on call has said anything of ${name}.`)
            : refused(
                `The manifest itself says that ${name} is ${signed.state}: take it out of fleet.json, sign, push.`,
              );
        }
        return ok({ ...before, sites: before.sites.filter((one) => one.site !== name) });
      },
      given,
      io,
    );
  },
});
