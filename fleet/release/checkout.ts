/**
 * The commit that a release is made of, read from git and not from the working tree: what nobody has committed is in
 * no release, and the same commit gives the same files on every machine.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar';
import { fail, ok, type Result } from '../../system/result.ts';
import { SOURCE_FILES, SOURCE_FOLDERS } from './contents.ts';
import type { Lockfile } from './lockfile.ts';

export interface Checkout {
  readonly commit: string;
  /** Seconds since 1970. */
  readonly committedAt: number;
  readonly version: string;
  readonly lock: Lockfile;
  /** Every file of the folders that releases are made of, by its path from the root. */
  readonly files: readonly string[];
  /** Writes these folders into an existing directory. */
  export(into: string): void;
}

/** The commit that is checked out in `root`. The fault is a sentence. */
export function readCheckout(root: string): Result<Checkout, string> {
  const git = (...words: readonly string[]): Buffer =>
    // What a user has set for git must not reach the bytes.
    execFileSync('git', ['-c', 'core.autocrlf=false', '-c', 'core.quotePath=false', ...words], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 << 20,
    });
  const read = (...words: readonly string[]): string => git(...words).toString();
  try {
    git('rev-parse', '--verify', 'HEAD');
  } catch {
    return fail(`${root} is no git checkout, and a release is made of a commit.`);
  }
  const changes = read('status', '--porcelain').split('\n').filter(Boolean);
  const [first] = changes;
  if (first !== undefined) {
    const more = changes.length > 1 ? ` and ${changes.length - 1} more` : '';
    return fail(
      `A release is made of a commit, and ${first.slice(3)}${more} is not in it: commit or stash it.`,
    );
  }
  const paths = [...SOURCE_FOLDERS, ...SOURCE_FILES];
  const { version } = JSON.parse(read('show', 'HEAD:package.json')) as { version: string };
  return ok({
    commit: read('rev-parse', 'HEAD').trim(),
    committedAt: Number(read('log', '-1', '--format=%ct')),
    version,
    lock: JSON.parse(read('show', 'HEAD:package-lock.json')) as Lockfile,
    files: read('ls-tree', '-r', '--name-only', 'HEAD', '--', ...paths)
      .split('\n')
      .filter(Boolean)
      .sort(),
    export: (into) => {
      mkdirSync(into, { recursive: true });
      const file = join(into, 'commit.tar');
      git('archive', '--format=tar', '-o', file, 'HEAD', '--', ...paths);
      extract({ cwd: into, file, sync: true, strict: true });
    },
  });
}

/** The lockfile of a working tree. */
export function readLockfile(root: string): Lockfile {
  return JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lockfile;
}
