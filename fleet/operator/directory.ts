/**
 * The operators' directory: what they know of a fleet, readable by its owner only. A command changes all of its files
 * or none: what is to be written is first written down as a whole, in one file, and whoever opens the directory after
 * a crash finishes it. Two commands do not change one directory at the same time.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fail, ok, type Result } from '../../system/result.ts';
import { startOf } from '../local/process-identity.ts';

/** Content by path below the directory; null: the file, or the folder with all that is in it, goes away. */
export type Changes = ReadonlyMap<string, string | null>;

export interface OperatorDirectory {
  readonly path: string;
  /** The content of a file; undefined when there is none. */
  read(name: string): string | undefined;
  /** All of it or nothing, on the disk when it returns. Throws what the file system says. */
  change(changes: Changes): void;
  /** Lets others in. */
  close(): void;
}

const LOCK = 'lock';
const JOURNAL = 'unfinished.json';

/** Opens an existing directory and keeps others out until it is closed. The fault is a sentence. */
export function openDirectory(path: string): Result<OperatorDirectory, string> {
  if (!existsSync(path)) {
    return fail(`There is no directory ${path}: make one with \`fleet init\`, or name it with --dir.`);
  }
  const locked = lock(path);
  if (!locked.ok) return locked;
  try {
    const journal = readFile(path, JOURNAL);
    if (journal !== undefined) apply(path, new Map(JSON.parse(journal) as [string, string | null][]));
  } catch (error) {
    rmSync(join(path, LOCK), { force: true });
    throw error;
  }
  return ok({
    path,
    read: (name) => readFile(path, name),
    change: (changes) => {
      writeWhole(path, JOURNAL, JSON.stringify([...changes]));
      apply(path, changes);
    },
    close: () => rmSync(join(path, LOCK), { force: true }),
  });
}

/** Makes the directory; its parent must be there. The fault is a sentence. */
export function makeDirectory(path: string): Result<OperatorDirectory, string> {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EEXIST') return fail(`${path} cannot be made (${code ?? 'unknown'}).`);
    if (!statSync(path).isDirectory()) return fail(`${path} is no directory.`);
    // Else `--dir .` would lock others out of whatever is here.
    if (!isUnused(path)) {
      return fail(`${path} has other things in it: name a directory that is only for this with --dir.`);
    }
    chmodSync(path, 0o700);
  }
  return openDirectory(path);
}

/** Whether there is nothing in it, or what a command left that was ended before its first file. */
function isUnused(path: string): boolean {
  return readdirSync(path).every((name) => name.startsWith(LOCK) || name.startsWith(JOURNAL));
}

/** Reads one file without keeping anybody out; undefined when there is none. */
export function readFile(path: string, name: string): string | undefined {
  try {
    return readFileSync(join(path, name), 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** Harmless when done again: each file is replaced as a whole, and the journal goes last. */
function apply(path: string, changes: Changes): void {
  for (const [name, content] of changes) {
    if (normalize(name) !== name || name.startsWith('..') || name.startsWith('/')) {
      throw new Error(`${name} is no path below the directory`);
    }
    if (content === null) rmSync(join(path, name), { recursive: true, force: true });
    else writeWhole(path, name, content);
  }
  rmSync(join(path, JOURNAL), { force: true });
  syncFolder(path);
}

function writeWhole(path: string, name: string, content: string): void {
  const target = join(path, name);
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  try {
    const file = openSync(`${target}.new`, 'w', 0o600);
    try {
      // Until all is written: one write to a disk that has room for a part writes that part, and is no error.
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(`${target}.new`, target);
  } catch (error) {
    rmSync(`${target}.new`, { force: true });
    // What fails on an open file does not say on which.
    throw Object.assign(error as Error, { path: target });
  }
  syncFolder(dirname(target));
}

/** A rename is on the disk once its folder is. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** A file that names the process that works here; one that a dead process left behind holds nobody up. */
function lock(path: string): Result<void, string> {
  const own = `${process.pid} ${startOf(process.pid)}`;
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      takeLock(join(path, LOCK), own);
      return ok(undefined);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOTDIR') return fail(`${path} is no directory.`);
      if (code !== 'EEXIST') return fail(`${path} cannot be written to (${code ?? 'unknown'}).`);
    }
    const holder = readFile(path, LOCK) ?? '';
    const [pid = '', start = ''] = holder.split(' ');
    if (!isDead(Number(pid), start)) {
      return fail(
        `Another command works in ${path} (process ${pid}). Wait for it; if it is none of yours, remove ${join(path, LOCK)}.`,
      );
    }
    takeAway(path, holder);
  }
  return fail(`Another command works in ${path}. Wait for it.`);
}

/** Throws when it is taken, and when it cannot be written; an empty one, which names nobody, is not left behind. */
function takeLock(lockFile: string, own: string): void {
  const file = openSync(lockFile, 'wx', 0o600);
  try {
    writeFileSync(file, own);
  } catch (error) {
    rmSync(lockFile, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Whether the process that wrote the lock is gone for sure; half a line may still be being written. */
function isDead(pid: number, start: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  const now = startOf(pid);
  if (now !== '') return now !== start;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Only one of two who found the same stale lock moves it aside; the other finds a new one. */
function takeAway(path: string, holder: string): void {
  const aside = join(path, `${LOCK}.${process.pid}`);
  try {
    renameSync(join(path, LOCK), aside);
  } catch {
    return;
  }
  if (readFileSync(aside, 'utf8') !== holder && !existsSync(join(path, LOCK))) {
    renameSync(aside, join(path, LOCK));
    return;
  }
  rmSync(aside, { force: true });
}
