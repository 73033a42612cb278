/**
 * `fleet compose`: takes the sites' addresses from what Pulumi says of its stacks. The stacks may be at hand one after
 * the other: what a file does not name stays as it is.
 */
import { readFileSync } from 'node:fs';
import { ok } from '../../system/result.ts';
import { hasAddresses } from '../operator/draft.ts';
import { parseStackOutput, type SiteAddresses, withAddresses } from '../operator/stack-output.ts';
import { DIRECTORY_FLAGS, draftChange, inWorkspace } from '../operator/workspace.ts';
import { DONE, misused, type OperatorCommand, operatorCommand } from './command.ts';

export const composeCommand: OperatorCommand = operatorCommand({
  help: `  compose FILE [FILE...] [--dir DIR] [--json]
      Takes addresses from the output of \`pulumi stack output --json\`, one file for each stack; - is standard input.`,
  flags: { ...DIRECTORY_FLAGS, json: 'alone' },
  words: { min: 1, max: 16, what: 'one or more files with the output of `pulumi stack output --json`' },
  run: async (given, io) => {
    const found: SiteAddresses[] = [];
    const faults: string[] = [];
    for (const file of given.positional) {
      const text = textOf(file);
      if (text === undefined) {
        faults.push(`${file}: cannot be read.`);
        continue;
      }
      const parsed = parseStackOutput(text, file);
      if (parsed.ok) found.push(...parsed.value);
      else faults.push(...parsed.fault);
    }
    if (faults.length > 0) return misused(...faults);
    return await inWorkspace(given, async ({ directory, draft }) => {
      const next = withAddresses(draft, found);
      if (!next.ok) return misused(...next.fault);
      directory.change(new Map([draftChange(next.value)]));
      const missing = next.value.manifest.sites.filter((site) => !hasAddresses(site)).map(({ name }) => name);
      const composed = found.map(({ site }) => site);
      if (given.flags.has('json')) io.print(JSON.stringify({ composed, missing }));
      else {
        io.print(`Addresses taken: ${composed.join(', ')}.`);
        if (missing.length > 0) io.print(`Still without: ${missing.join(', ')}.`);
        io.print('Next: fleet diff, fleet sign, fleet push.');
      }
      return await Promise.resolve(ok(DONE));
    });
  },
});

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch {
    return undefined;
  }
}
