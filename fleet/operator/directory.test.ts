/** A directory that is changed as a whole: what a crash leaves is finished, and two commands never meet in it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeDirectory, type OperatorDirectory, openDirectory } from './directory.ts';

let root: string;
let path: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'operators-'));
  path = join(root, 'fleet');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function opened(result: ReturnType<typeof openDirectory>): OperatorDirectory {
  if (!result.ok) throw new Error(result.fault);
  return result.value;
}

/** Changes a file in a process whose files may have `blocks` of 512 bytes, like one whose disk is full; what it throws. */
function changeWithin(blocks: number, name: string, content: string): unknown {
  const program = `
    const { openDirectory } = await import(${JSON.stringify(join(import.meta.dirname, 'directory.ts'))});
    const opened = openDirectory(${JSON.stringify(path)});
    let said = opened.ok ? 'no error' : opened.fault;
    try {
      if (opened.ok) opened.value.change(new Map([${JSON.stringify([name, content])}]));
    } catch ({ code, path }) {
      said = { code, path };
    }
    if (opened.ok) opened.value.close();
    console.log(JSON.stringify(said));`;
  const shell = `ulimit -f ${blocks}; exec "$0" --input-type=module -e "$1"`;
  const { stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

describe('a directory', () => {
  test('is for its owner only, and so is what is in it', () => {
    const directory = opened(makeDirectory(path));
    directory.change(new Map([['sites/aws/vote-key', 'secret']]));
    expect(directory.read('sites/aws/vote-key')).toBe('secret');
    const modes = ['', 'sites', 'sites/aws', 'sites/aws/vote-key'].map((name) =>
      (statSync(join(path, name)).mode & 0o777).toString(8),
    );
    expect(modes).toEqual(['700', '700', '700', '600']);
  });

  test('loses a file, or a folder with all that is in it', () => {
    const directory = opened(makeDirectory(path));
    directory.change(new Map([['a', '1'], ['sites/aws/b', '2'], ['sites/gcp/b', '3']])); // biome-ignore format: one line
    directory.change(new Map<string, string | null>([['a', null], ['sites/aws', null]])); // biome-ignore format: one line
    expect(readdirSync(path).toSorted()).toEqual(['lock', 'sites']);
    expect(readdirSync(join(path, 'sites'))).toEqual(['gcp']);
  });

  test('is finished by whoever opens it after a crash', () => {
    const directory = opened(makeDirectory(path));
    directory.change(new Map([['a', 'old'], ['b', 'old']])); // biome-ignore format: one line
    directory.close();
    // As it is after a crash between the first file and the second.
    writeFileSync(join(path, 'a'), 'new');
    writeFileSync(join(path, 'unfinished.json'), JSON.stringify([['a', 'new'], ['b', 'new'], ['c', null]])); // biome-ignore format: one line
    const again = opened(openDirectory(path));
    expect([again.read('a'), again.read('b'), again.read('unfinished.json')]).toEqual([
      'new',
      'new',
      undefined,
    ]);
  });

  test('keeps what it has when the disk is full in the middle of a file, and says of which', () => {
    const directory = opened(makeDirectory(path));
    directory.change(new Map([['vault', 'old']]));
    directory.close();
    expect(changeWithin(4, 'vault', 'x'.repeat(3000))).toMatchObject({
      code: 'EFBIG',
      path: join(path, 'unfinished.json'),
    });
    expect(readdirSync(path)).toEqual(['vault']);
    expect(opened(openDirectory(path)).read('vault')).toBe('old');
  });

  test('is not held for ever by a lock that found no room', () => {
    opened(makeDirectory(path)).close();
    expect(changeWithin(0, 'vault', 'new')).toContain('cannot be written to (EFBIG)');
    expect(openDirectory(path).ok).toBe(true);
  });

  test('that has other things in it is not taken, and others may still look into it', () => {
    mkdirSync(path, { mode: 0o755 });
    writeFileSync(join(path, 'report'), '');
    expect(makeDirectory(path)).toMatchObject({
      ok: false,
      fault: expect.stringContaining('has other things in it') as string,
    });
    expect(statSync(path).mode & 0o777).toBe(0o755);
  });

  test('is not changed outside of itself', () => {
    const directory = opened(makeDirectory(path));
    expect(() => directory.change(new Map([['../elsewhere', 'x']]))).toThrow('no path below');
    expect(existsSync(join(root, 'elsewhere'))).toBe(false);
  });
});

describe('two commands in one directory', () => {
  test('do not meet: the second is told who the first is', () => {
    const first = opened(makeDirectory(path));
    expect(openDirectory(path)).toMatchObject({
      ok: false,
      fault: expect.stringContaining(`process ${process.pid}`) as string,
    });
    first.close();
    expect(openDirectory(path).ok).toBe(true);
  });

  test('the lock of one that is dead holds nobody up', () => {
    opened(makeDirectory(path)).close();
    const { pid } = spawnSync('true');
    writeFileSync(join(path, 'lock'), `${pid} 12345`);
    expect(openDirectory(path).ok).toBe(true);
  });
});

test('what is missing, or no directory, is said', () => {
  expect(openDirectory(path)).toMatchObject({
    ok: false,
    fault: expect.stringContaining('fleet init') as string,
  });
  writeFileSync(path, '');
  expect(makeDirectory(path)).toMatchObject({ ok: false });
});
