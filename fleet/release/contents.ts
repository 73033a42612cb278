/**
 * What a release consists of: the list that the archive for machines and the tree of a local fleet are both made
 * from, so that what a drill proves is what is deployed.
 *
 * A file that is in none of these folders is in no release. Which packages go with them is read from the files' own
 * imports, so that nobody has to keep a second list; the providers' SDKs are never among them.
 */

/** Programs that machines start. */
export const ENTRIES = ['relay/main.ts', 'healthcheck/main.ts'] as const;

/** Folders of the project whose programs run on machines, and what those import. */
export const SOURCE_FOLDERS = ['relay', 'healthcheck', 'client', 'system', 'fleet/manifest'] as const;

/** Files beside them. */
export const SOURCE_FILES = ['LICENSE'] as const;

/** Whether a file of the project, named by its path from the root, is in a release. */
export function isShipped(path: string): boolean {
  if (SOURCE_FILES.some((file) => file === path)) return true;
  return (
    SOURCE_FOLDERS.some((folder) => path.startsWith(`${folder}/`)) &&
    !path.endsWith('.test.ts') &&
    !path.endsWith('.md')
  );
}

const IMPORT =
  /^(?:import|export)\s(?!type\b)[^'"]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm;

/** The packages whose names a source imports when it runs, Node's own left out. */
export function packagesImported(source: string): readonly string[] {
  return [...source.matchAll(IMPORT)]
    .map(([, from, bare, lazy]) => from ?? bare ?? lazy ?? '')
    .filter((target) => target !== '' && !target.startsWith('.') && !target.startsWith('node:'))
    .map((target) => target.match(/^(@[^/]+\/)?[^/]+/)?.[0] ?? target);
}
