/**
 * `fleet add-site`: the keys and secrets of one more site, ready for its Pulumi stack. Nothing of the fleet changes
 * until the site has addresses and a manifest with it is signed.
 */
import { join } from 'node:path';
import { ok } from '../../system/result.ts';
import { WEIGHT_DEFAULT } from '../manifest/manifest.ts';
import { filesOf, pulumiScriptPath } from '../operator/site-files.ts';
import { makeSite, siteFolder } from '../operator/site-keys.ts';
import { DIRECTORY_FLAGS, draftChange, inWorkspace, operatorsKey } from '../operator/workspace.ts';
import { DONE, misused, type OperatorCommand, operatorCommand } from './command.ts';

const DNS_PORT = 53;
const VOTE_PORT = 443;
const NAME = /^[a-z][a-z0-9-]{0,15}$/;

export const addSiteCommand: OperatorCommand = operatorCommand({
  help: `  add-site NAME [--provider PROVIDER] [--weight N] [--dir DIR] [--json]
      Makes the keys of a site (its provider is NAME unless said), and a script that gives them to its stack.`,
  flags: { ...DIRECTORY_FLAGS, provider: 'value', weight: 'value', json: 'alone' },
  words: { min: 1, max: 1, what: 'the name of the new site' },
  run: async (given, io) => {
    const [name = ''] = given.positional;
    const provider = given.flags.get('provider') ?? name;
    const weight = given.flags.get('weight') ?? String(WEIGHT_DEFAULT);
    if (!NAME.test(name)) {
      return misused(
        `A site's name has 1 to 16 of a-z 0-9 -, beginning with a letter; got ${JSON.stringify(name)}.`,
      );
    }
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(provider)) {
      return misused(
        `--provider: expected 1 to 32 of a-z 0-9 -, such as aws, gcp or hetzner, got ${JSON.stringify(provider)}.`,
      );
    }
    if (!/^([1-9]\d?|100)$/.test(weight))
      return misused(`--weight: expected a whole number between 1 and 100, got ${JSON.stringify(weight)}.`);
    return await inWorkspace(given, async ({ directory, draft }) => {
      const key = operatorsKey(directory.path);
      if (!key.ok) return key;
      const site = { name, provider, weight: Number(weight), dnsPort: DNS_PORT, votePort: VOTE_PORT };
      const made = await makeSite(draft, site, { wallMs: io.clock.wallMs(), random: io.random });
      if (!made.ok) return misused(...made.fault);
      directory.change(new Map([...filesOf(name, made.value, key.value), draftChange(made.value.draft)]));
      const folder = join(directory.path, siteFolder(name));
      if (given.flags.has('json')) io.print(JSON.stringify({ site: name, provider, folder }));
      else for (const line of nextSteps(name, directory.path, folder)) io.print(line);
      return ok(DONE);
    });
  },
});

function nextSteps(name: string, path: string, folder: string): readonly string[] {
  return [
    `Site ${name} has its keys, in ${folder}.`,
    `Next, in the directory of the Pulumi program: sh ${join(path, pulumiScriptPath(name))} STACK, then pulumi up.`,
    `Then: pulumi stack output --json --stack STACK >${name}.json, and fleet compose ${name}.json.`,
    `Who mints push URLs at ${name} shows ${join(folder, 'operator-token')}; the site has only its hash.`,
    `Once the stack has them, ${folder} may go: what the fleet needs of it later is in fleet.json. Keep disk-key,`,
    'without which the disk of a Redis is noise, and acme-account-key, with which certificates are revoked.',
  ];
}
