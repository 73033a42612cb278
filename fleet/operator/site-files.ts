/**
 * The files of a site in the operators' directory, and the script that puts them into the configuration of its stack, so
 * that nobody types sixteen commands and no secret stands on a command line. Paths: infra/secret-files.ts.
 */
import type { SiteName } from '../manifest/manifest.ts';
import { type MadeSite, type SiteFiles, siteFilePath, siteFolder } from './site-keys.ts';

/** Every file of the site, by its path in the operators' directory. */
export function filesOf(site: SiteName, made: MadeSite, manifestKey: string): ReadonlyMap<string, string> {
  return new Map([
    ...Object.entries(made.files).flatMap(([role, files]) =>
      Object.entries(files as Record<string, string>).map(
        ([file, content]) => [siteFilePath(site, role as keyof SiteFiles, file), content] as const,
      ),
    ),
    [`${siteFolder(site)}/operator-token`, made.operatorToken] as const,
    [pulumiScriptPath(site), pulumiScript(site, made.files, manifestKey)] as const,
  ]);
}

/** The script's path in the operators' directory. */
export function pulumiScriptPath(site: SiteName): string {
  return `${siteFolder(site)}/set-secrets.sh`;
}

/** `manifestKey` is the operators' public key. */
function pulumiScript(site: SiteName, files: SiteFiles, manifestKey: string): string {
  const commands = Object.entries(files).flatMap(([role, ofRole]) =>
    Object.keys(ofRole).map((file) => `put '${site}.${role}.${file}' "$here/${role}/${file}"`),
  );
  return [
    '#!/bin/sh',
    `# Puts the secret files of site ${site} into the configuration of its Pulumi stack: sh set-secrets.sh STACK`,
    'set -eu',
    'stack=${1:?which stack? sh set-secrets.sh STACK, in the directory of the Pulumi program}',
    'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
    `put() { pulumi config set --stack "$stack" --secret --path "archipelago:secrets.$1" <"$2"; }`,
    `pulumi config set --stack "$stack" archipelago:manifestKey '${manifestKey}'`,
    ...commands,
    '',
  ].join('\n');
}
