/**
 * `fleet drain` and `fleet serve`: for a while a site is given to nobody new, or counts as up, whatever is measured;
 * `fleet undrain` takes either back before it is over.
 */
import { ok } from '../../system/result.ts';
import type { Overrides } from '../manifest/manifest.ts';
import { overrideOf } from '../manifest/overrides.ts';
import { copiesBesides } from '../operator/copies.ts';
import { nameserversOf } from '../operator/nameservers.ts';
import { forMs, sayOnCall, siteIn, WORD_FLAGS } from '../operator/word-on-call.ts';
import { misused, type OperatorCommand, operatorCommand, refused } from './command.ts';

export const drainCommand: OperatorCommand = operatorCommand({
  help: `  drain SITE --for TIME [--hard] [--despite copies_missing] [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR]
        [--json]
      Nobody new is sent to SITE for TIME (45m, 2h; at most 24h), signed by who is on call. It may still be given out
      when every other site is down; with --hard not even then. Refused while another site is refilled or is owed
      messages, because then SITE may have what nobody else has; --despite copies_missing says that you mean it.`,
  flags: { ...WORD_FLAGS, for: 'value', hard: 'alone', despite: 'value' },
  words: { min: 1, max: 1, what: 'the name of one site' },
  run: async (given, io) => {
    const [name = ''] = given.positional;
    const lasting = forMs(given);
    if (!lasting.ok) return lasting;
    const state = given.flags.has('hard') ? 'drained' : 'draining';
    const despite = given.flags.get('despite');
    if (despite !== undefined && despite !== 'copies_missing') {
      return misused(`--despite: expected copies_missing, got ${JSON.stringify(despite)}.`);
    }
    return await sayOnCall(
      async (before, manifest, wallMs, identity) => {
        const site = siteIn(manifest, name);
        if (!site.ok) return site;
        if (despite === undefined) {
          const copies = await copiesBesides(name, nameserversOf(manifest), identity);
          if (!copies.ok) return copies;
        }
        return ok(saying(before, { site: name, state, untilWallMs: wallMs + lasting.value }));
      },
      given,
      io,
    );
  },
});

export const serveCommand: OperatorCommand = operatorCommand({
  help: `  serve SITE --for TIME [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      SITE counts as up for TIME (45m, 2h; at most 24h), whatever is measured, signed by who is on call: for when the
      checking is wrong about one site. If SITE is down after all, clients are sent to it in vain.`,
  flags: { ...WORD_FLAGS, for: 'value' },
  words: { min: 1, max: 1, what: 'the name of one site' },
  run: async (given, io) => {
    const [name = ''] = given.positional;
    const lasting = forMs(given);
    if (!lasting.ok) return lasting;
    return await sayOnCall(
      (before, manifest, wallMs) => {
        const site = siteIn(manifest, name);
        if (!site.ok) return site;
        return ok(saying(before, { site: name, state: 'serving', untilWallMs: wallMs + lasting.value }));
      },
      given,
      io,
    );
  },
});

export const undrainCommand: OperatorCommand = operatorCommand({
  help: `  undrain SITE [--as NAME] [--yes] [--at ADDRESS:PORT[,...]] [--dir DIR] [--json]
      Takes back what somebody on call said of SITE, a \`serve\` too. What the operators signed into the manifest stays.`,
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

/** The newest word of a site takes the place of the one before. */
function saying(before: Overrides, word: Overrides['sites'][number]): Overrides {
  return { ...before, sites: [...before.sites.filter(({ site }) => site !== word.site), word] };
}
