/**
 * A release as a directory: the project's own programs, the packages that they import, the Node that runs them, and
 * what says which they are.
 *
 *     bin/node  bin/LICENSE  relay/  healthcheck/  client/  system/  fleet/manifest/  node_modules/
 *     package.json  release.json  sbom.cdx.json  LICENSE
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { billOf, type ReleaseFacts } from './bill.ts';
import { packagesImported } from './contents.ts';
import { type Lockfile, packagesNeeded } from './lockfile.ts';

export interface TreeOrder {
  readonly facts: ReleaseFacts;
  readonly lock: Lockfile;
  /** The directory that has the project's files, and which of them, by their paths in it. */
  readonly sources: string;
  readonly files: readonly string[];
  /** The directory that has node_modules. */
  readonly packages: string;
  /** Name of the package that has Node's program. */
  readonly nodePackage: string;
  /** Node's program itself, and its licence. */
  readonly node: string;
  readonly nodeLicense: string;
}

/** How a file of a package gets into the tree: a link costs nothing, a copy is nobody else's. */
type Place = (from: string, to: string, mode: number) => void;

export const copied: Place = (from, to, mode) => {
  copyFileSync(from, to);
  chmodSync(to, mode);
};

/** A hard link, or a copy where the file system has none. */
export const linked: Place = (from, to, mode) => {
  try {
    linkSync(from, to);
  } catch {
    copied(from, to, mode);
  }
};

/** The packages that some sources import, of all of which the tree has what they need. */
export function importsOf(sources: string, files: readonly string[]): readonly string[] {
  const programs = files.filter((file) => file.endsWith('.ts'));
  const names = programs.flatMap((file) => packagesImported(readFileSync(join(sources, file), 'utf8')));
  return [...new Set(names)].sort();
}

/** Writes the tree; `into` is an empty directory. Throws when a file or a package is not where the order says. */
export function writeTree(order: TreeOrder, into: string, place: Place): void {
  const { facts, lock, sources, files } = order;
  const put = (from: string, path: string, how: Place, mode = 0o644): void => {
    mkdirSync(dirname(join(into, path)), { recursive: true });
    how(from, join(into, path), mode);
  };
  // An editor may write a source in place, so a link to it would change under those who run it.
  for (const file of files) put(join(sources, file), file, copied);
  const imported = importsOf(sources, files);
  const packages = packagesNeeded(lock, imported);
  for (const { path } of packages) {
    for (const file of filesOfPackage(join(order.packages, path))) {
      put(join(order.packages, path, file), join(path, file), place);
    }
  }
  put(order.node, 'bin/node', place, 0o755);
  if (existsSync(order.nodeLicense)) put(order.nodeLicense, 'bin/LICENSE', place);
  const [node] = packagesNeeded(lock, [order.nodePackage]);
  if (node === undefined) throw new Error(`package-lock.json has no ${order.nodePackage}.`);
  const write = (path: string, content: string): void => {
    writeFileSync(join(into, path), content);
    // Not as the mode of a new file, from which the umask of whoever makes the release takes away.
    chmodSync(join(into, path), 0o644);
  };
  const { version } = facts;
  write(
    'package.json',
    `${JSON.stringify({ name: 'archipelago', version, private: true, type: 'module' })}\n`,
  );
  write('release.json', `${JSON.stringify({ format: 1, ...facts, node: node.version }, null, 2)}\n`);
  write('sbom.cdx.json', billOf(facts, packages, node, imported));
}

/** What was published as this package, without packages inside it, which the lockfile names by themselves. */
function filesOfPackage(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .filter((path) => !/(^|\/)node_modules\//.test(path));
}
