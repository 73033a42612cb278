/**
 * Makes the release that machines fetch: the commit's files, and the packages as the registry published them, each
 * checked by npm against the integrity in the lockfile. What somebody changed in node_modules is not in it.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fail, ok, type Result } from '../../system/result.ts';
import { hashOf, pack } from './archive.ts';
import type { ReleaseFacts } from './bill.ts';
import { readCheckout } from './checkout.ts';
import { isShipped } from './contents.ts';
import { type Lockfile, lockOf, nodePackage, packagesNeeded } from './lockfile.ts';
import { copied, importsOf, type TreeOrder, writeTree } from './tree.ts';

/** Machine kinds that there are releases for, in the words of `process.arch`; all run Linux. */
export const ARCHS = ['x64', 'arm64'] as const;
export type Arch = (typeof ARCHS)[number];

export interface BuiltRelease {
  readonly name: string;
  /** Path of the archive. */
  readonly file: string;
  /** Path of its bill of materials, which is also in it. */
  readonly bill: string;
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Builds the release of the commit that is checked out in `root` into the directory `out`. The fault is a sentence.
 * Needs git, npm, and the registry or npm's cache of it.
 */
export function buildRelease(root: string, out: string, arch: Arch): Result<BuiltRelease, string> {
  const checkout = readCheckout(root);
  if (!checkout.ok) return checkout;
  const { lock, files, version, commit, committedAt } = checkout.value;
  const node = nodePackage('linux', arch);
  const [pinned] = packagesNeeded(lock, [node]);
  if (pinned?.version !== process.versions.node) {
    return fail(
      `Node ${process.versions.node} runs this, and ${pinned?.version} is pinned, which compresses in its own way: ` +
        'npm ci, then npm run release.',
    );
  }
  const facts: ReleaseFacts = { version, commit, committedAt, platform: 'linux', arch };
  const scratch = mkdtempSync(join(tmpdir(), 'archipelago-release-'));
  try {
    const sources = join(scratch, 'sources');
    const packages = join(scratch, 'packages');
    const tree = join(scratch, 'tree');
    for (const directory of [sources, packages, tree, out]) mkdirSync(directory, { recursive: true });
    checkout.value.export(sources);
    const shipped = files.filter(isShipped);
    const trouble = installPackages(lock, [...importsOf(sources, shipped), node], packages);
    if (trouble !== '') return fail(`npm has not brought the packages of the release: ${trouble}`);
    const order: TreeOrder = {
      facts,
      lock,
      sources,
      files: shipped,
      packages,
      nodePackage: node,
      node: join(packages, 'node_modules', node, 'bin/node'),
      nodeLicense: join(packages, 'node_modules', node, 'LICENSE'),
    };
    writeTree(order, tree, copied);
    return ok(writeArchive(tree, out, facts));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function writeArchive(tree: string, out: string, facts: ReleaseFacts): BuiltRelease {
  const name = `archipelago-${facts.version}-${facts.commit.slice(0, 12)}-${facts.platform}-${facts.arch}`;
  const file = join(out, `${name}.tar.gz`);
  const bill = join(out, `${name}.cdx.json`);
  pack(tree, file, facts.committedAt);
  copied(join(tree, 'sbom.cdx.json'), bill, 0o644);
  return { name, file, bill, sha256: hashOf(file), bytes: statSync(file).size };
}

/** Puts these packages below `into`. Gives what npm says when one cannot be had or is not what the lockfile says. */
function installPackages(lock: Lockfile, roots: readonly string[], into: string): string {
  const { manifest, lockfile } = lockOf(lock, packagesNeeded(lock, roots), roots);
  writeFileSync(join(into, 'package.json'), manifest);
  writeFileSync(join(into, 'package-lock.json'), lockfile);
  const words = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--no-bin-links'];
  const { error, status, stderr } = spawnSync('npm', words, { cwd: into, encoding: 'utf8' });
  return status === 0 ? '' : (error?.message ?? stderr.trim());
}
