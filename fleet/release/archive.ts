/**
 * A release as one file, the same bytes for the same tree: entries in the order of their names, one owner, two modes,
 * one time, and a gzip header that names no machine.
 *
 * Gzip, because every Debian can read it: a relay that comes up while a package archive is away must not need a
 * package for that. What deflate writes depends on its program, so a release is made with the Node that the lockfile
 * pins; on five kinds of x86-64 processors and on arm64 that one wrote the same.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, extract } from 'tar';

/** Writes the tree into `file`; `atSeconds` since 1970 is the time of every entry. */
export function pack(tree: string, file: string, atSeconds: number): void {
  // Files alone: whoever unpacks them makes the directories.
  const entries = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(tree.length + 1))
    .sort();
  create(
    {
      cwd: tree,
      file,
      sync: true,
      gzip: { level: 6, portable: true },
      portable: true,
      mtime: new Date(atSeconds * 1000),
      noDirRecurse: true,
      strict: true,
    },
    entries,
  );
}

/** Writes what is in `file` into `tree`, an existing directory. Throws when it is not such an archive. */
export function unpack(file: string, tree: string): void {
  extract({ cwd: tree, file, sync: true, strict: true });
}

/** SHA-256 of a file, hexadecimal. */
export function hashOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
