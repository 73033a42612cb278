/**
 * The release that a local fleet runs: made from the working tree by the same list as the archive for machines, or
 * unpacked from such an archive. So what a drill proves is what is deployed.
 *
 * Each fleet has its own tree, in its own directory: half a second, because the files of packages and the large Node are
 * links. Not below the project, where Node would find packages that are not in the list, and not in a node_modules,
 * where it strips no types.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, ok, type Result } from '../../system/result.ts';
import { unpack } from './archive.ts';
import { readLockfile } from './checkout.ts';
import { ENTRIES, isShipped, SOURCE_FILES, SOURCE_FOLDERS } from './contents.ts';
import { nodePackage } from './lockfile.ts';
import { linked, writeTree } from './tree.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Writes the tree of the working tree into `tree`, a new directory. */
export function stageWorkingTree(tree: string): void {
  const name = nodePackage(process.platform, process.arch);
  const own = join(ROOT, 'node_modules', name);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const { platform, arch } = process;
  mkdirSync(tree, { recursive: true });
  writeTree(
    {
      facts: { version, commit: 'working-tree', committedAt: 0, platform, arch },
      lock: readLockfile(ROOT),
      sources: ROOT,
      files: shippedFiles(),
      packages: ROOT,
      nodePackage: name,
      // Where npm left the platform's Node out, the one that runs this.
      node: existsSync(join(own, 'bin/node')) ? join(own, 'bin/node') : process.execPath,
      nodeLicense: join(own, 'LICENSE'),
    },
    tree,
    linked,
  );
}

/** Writes what is in an archive of `npm run release` into `tree`, a new directory. The fault is a sentence. */
export function stageArchive(file: string, tree: string): Result<undefined, string> {
  const named = JSON.stringify(file);
  if (!existsSync(file)) return fail(`There is no release at ${named}: npm run release makes one.`);
  mkdirSync(tree, { recursive: true });
  try {
    unpack(file, tree);
  } catch (error) {
    return fail(`${named} is no release of Archipelago: ${(error as Error).message}.`);
  }
  const missing = ['bin/node', 'release.json', ...ENTRIES].find((path) => !existsSync(join(tree, path)));
  if (missing !== undefined) return fail(`${named} is no release of Archipelago: it has no ${missing}.`);
  const facts = JSON.parse(readFileSync(join(tree, 'release.json'), 'utf8')) as Record<string, string>;
  return facts['platform'] === process.platform && facts['arch'] === process.arch
    ? ok(undefined)
    : fail(
        `${named} is for ${facts['platform']}-${facts['arch']}, and this machine is ` +
          `${process.platform}-${process.arch}.`,
      );
}

function shippedFiles(): readonly string[] {
  const inFolders = SOURCE_FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1)),
  );
  return [...inFolders, ...SOURCE_FILES].filter(isShipped).sort();
}
