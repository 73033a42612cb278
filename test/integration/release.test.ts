/**
 * The release as machines get it: the same bytes wherever it is made, nothing in it that does not belong there, and
 * its programs run with nothing else around them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unpack } from '../../fleet/release/archive.ts';
import { type BuiltRelease, buildRelease } from '../../fleet/release/build.ts';
import { isShipped } from '../../fleet/release/contents.ts';
import { argumentsOf, familyOf, runFleetCommand } from '../support/fleet-command.ts';

const ROOT = join(import.meta.dirname, '../..');
const MINUTES_MS = 60_000;

let directory = '';
let clone = '';
let built: BuiltRelease;
let tree = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'archipelago-release-test-'));
  clone = cloneTo('clone');
  built = build(clone, 'first');
  tree = join(directory, 'tree');
  mkdirSync(tree);
  unpack(built.file, tree);
}, 5 * MINUTES_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('another checkout of the same commit, made by somebody with other habits, gives the same bytes', {
  timeout: 5 * MINUTES_MS,
}, () => {
  const other = cloneTo('a/longer path/to it', clone);
  const umask = process.umask(0o077);
  try {
    const again = build(other, 'second');
    expect(again.sha256).toBe(built.sha256);
    expect(readFileSync(again.file).equals(readFileSync(built.file))).toBe(true);
    expect(readFileSync(again.bill, 'utf8')).toBe(readFileSync(join(tree, 'sbom.cdx.json'), 'utf8'));
  } finally {
    process.umask(umask);
  }
});

test('has no name, no time and no rights of the machine that made it', () => {
  const committedAt = Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: clone }));
  const names = listed().map((line) => line.split(/ +/).slice(0, 2).join(' '));
  expect(new Set(names)).toEqual(new Set(['-rw-r--r-- 0/0', '-rwxr-xr-x 0/0']));
  expect(listed().filter((line) => line.startsWith('-rwx'))).toHaveLength(1);
  expect(statSync(join(tree, 'bin/node')).mtimeMs).toBe(committedAt * 1000);
  // RFC 1952: no flags, no time, no operating system.
  const header = readFileSync(built.file).subarray(0, 10);
  expect([...header.subarray(0, 8), header[9]]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 255]);
});

test('has what belongs to it, and nothing else', () => {
  const packages = new Set(
    (
      JSON.parse(readFileSync(join(tree, 'sbom.cdx.json'), 'utf8')) as {
        components: { group?: string; name: string }[];
      }
    ).components.map(({ group, name }) => (group === undefined ? name : `${group}/${name}`)),
  );
  const known = ['bin/node', 'bin/LICENSE', 'package.json', 'release.json', 'sbom.cdx.json'];
  const strangers = filesOf(tree).filter((path) => {
    const [, name = ''] = /^node_modules\/(?:.*node_modules\/)?((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
    return !known.includes(path) && !isShipped(path) && !packages.has(name);
  });
  expect(strangers).toEqual([]);
  expect(filesOf(tree).filter((path) => /@pulumi|\.test\.ts$|(^|\/)\.env|\.pem$/.test(path))).toEqual([]);
  const committed = execFileSync('git', ['ls-files'], { cwd: clone, encoding: 'utf8' }).trim().split('\n');
  expect(filesOf(tree)).toEqual(expect.arrayContaining(committed.filter(isShipped)));
});

test('every package in it brings its licence', () => {
  const roots = filesOf(tree)
    .filter((path) => /^node_modules\/(?:.*node_modules\/)?(@[^/]+\/)?[^/]+\/package\.json$/.test(path))
    .map((path) => path.slice(0, -'package.json'.length));
  expect(roots.length).toBeGreaterThan(10);
  const silent = roots.filter(
    (root) => !readdirSync(join(tree, root)).some((name) => /^licen[cs]e/i.test(name)),
  );
  expect(silent).toEqual([]);
  expect(readFileSync(join(tree, 'bin/LICENSE'), 'utf8')).toContain('Node.js is licensed');
});

test.each(['relay/main.ts', 'healthcheck/main.ts'])(
  '%s runs from it, with nothing else around',
  (program) => {
    const { status, stderr } = spawnSync(join(tree, 'bin/node'), [join(tree, program)], {
      cwd: directory,
      env: {},
      encoding: 'utf8',
    });
    expect(stderr).toMatch(/_MANIFEST_KEY: expected .*, got nothing/);
    expect(status).toBe(64);
  },
);

test('a fleet runs from it, Node and all', { timeout: MINUTES_MS }, async () => {
  const command = runFleetCommand(['start', '--store', 'memory', '--release', built.file]);
  try {
    await command.untilSaid('Ctrl-C stops everything');
    const release = join(await command.directory(), 'release');
    const running = familyOf(command.process.pid ?? 0).map(([pid]) => argumentsOf(pid).trim());
    const fromRelease = running.filter((words) => words.startsWith(`${release}/bin/node ${release}/`));
    expect(
      fromRelease.map((words) => words.slice(words.lastIndexOf(release) + release.length)).sort(),
    ).toEqual([...Array<string>(3).fill('/healthcheck/main.ts'), ...Array<string>(3).fill('/relay/main.ts')]);
    expect(JSON.parse(readFileSync(join(release, 'release.json'), 'utf8'))).toMatchObject({
      commit: execFileSync('git', ['rev-parse', 'HEAD'], { cwd: clone, encoding: 'utf8' }).trim(),
    });
  } finally {
    command.process.kill('SIGINT');
    expect(await command.ended, command.output()).toBe(0);
  }
});

describe('is refused', () => {
  test('when something is not committed, with its name', () => {
    writeFileSync(join(clone, 'relay/main.ts'), '// changed\n');
    writeFileSync(join(clone, 'new.ts'), '');
    try {
      const refused = buildRelease(clone, join(directory, 'none'), 'x64');
      expect(refused).toEqual({
        ok: false,
        fault:
          'A release is made of a commit, and relay/main.ts and 1 more is not in it: commit or stash it.',
      });
    } finally {
      execFileSync('git', ['checkout', '-q', '.'], { cwd: clone });
      rmSync(join(clone, 'new.ts'));
    }
  });

  test('outside a checkout', () => {
    const refused = buildRelease(tree, join(directory, 'none'), 'x64');
    expect(refused).toMatchObject({
      ok: false,
      fault: expect.stringContaining('is no git checkout') as string,
    });
  });

  test.each([
    [() => join(directory, 'absent.tar.gz'), 'There is no release at'],
    [() => join(tree, 'package.json'), 'is no release of Archipelago'],
  ])('by a fleet that is told to run what is none', async (file, sentence) => {
    const command = runFleetCommand(['start', '--store', 'memory', '--release', file()]);
    expect(await command.ended).toBe(64);
    expect(command.output()).toContain(sentence);
  });
});

/** A clone of the commit that is checked out there. */
function cloneTo(name: string, from = ROOT): string {
  const path = join(directory, name);
  execFileSync('git', ['clone', '-q', '--no-hardlinks', from, path]);
  return path;
}

function build(root: string, out: string): BuiltRelease {
  const result = buildRelease(root, join(directory, out), 'x64');
  if (!result.ok) throw new Error(result.fault);
  return result.value;
}

function listed(): readonly string[] {
  return execFileSync('tar', ['-tvzf', built.file], { encoding: 'utf8' }).trim().split('\n');
}

function filesOf(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}
