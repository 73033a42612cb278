/**
 * `npm run release`: makes the archive that machines fetch, and says what the stacks' configuration needs to know of it.
 */
import { join } from 'node:path';
import { ok } from '../../system/result.ts';
import { ARCHS, type BuiltRelease, buildRelease } from '../release/build.ts';
import { DONE, misused, type OperatorCommand, operatorCommand, refused } from './command.ts';

const ROOT = join(import.meta.dirname, '../..');

export const releaseCommand: OperatorCommand = operatorCommand({
  help: `  release [--out DIR] [--arch x64|arm64] [--json]
      The release archive of the commit that is checked out, the same bytes on every machine, with its bill of
      materials, in DIR (./release). Refused when something is not committed.`,
  flags: { out: 'value', arch: 'value', json: 'alone' },
  words: { min: 0, max: 0, what: 'no words beside its flags' },
  run: async ({ flags }, io) => {
    const wanted = flags.get('arch') ?? 'x64';
    const arch = ARCHS.find((known) => known === wanted);
    if (arch === undefined) return misused(`--arch: expected ${ARCHS.join(' or ')}, got ${wanted}.`);
    const built = buildRelease(ROOT, flags.get('out') ?? 'release', arch);
    if (!built.ok) return refused(built.fault);
    if (flags.has('json')) io.print(JSON.stringify(built.value));
    else for (const line of asText(built.value)) io.print(line);
    return await Promise.resolve(ok(DONE));
  },
});

function asText({ name, file, bill, sha256, bytes }: BuiltRelease): readonly string[] {
  return [
    `${file}  ${(bytes / 1e6).toFixed(1)} MB`,
    bill,
    `sha256 ${sha256}`,
    '',
    'Pulumi uploads it where the provider has an object store; elsewhere put it where machines can fetch it, at more',
    'than one provider. Tell each stack:',
    '',
    `  pulumi config set --path 'archipelago:release.file' ${file}`,
    `  pulumi config set --path 'archipelago:release.sha256' ${sha256}`,
    `  pulumi config set --path 'archipelago:release.urls[0]' https://OWN-PROVIDER/${name}.tar.gz`,
    `  pulumi config set --path 'archipelago:release.urls[1]' https://ANOTHER-PROVIDER/${name}.tar.gz`,
  ];
}
