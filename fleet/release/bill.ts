/**
 * The bill of materials of a release (SBOM): CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
 *
 * Nothing in it but what the commit says, so that the same commit gives the same bill: the time is the commit's, and
 * the serial number comes from the rest.
 */
import { createHash } from 'node:crypto';
import type { LockedPackage } from './lockfile.ts';

/** What a release says of itself, in its release.json. */
export interface ReleaseFacts {
  readonly version: string;
  /** The commit, in full; `working-tree` in the tree of a local fleet. */
  readonly commit: string;
  /** When it was committed, seconds since 1970. */
  readonly committedAt: number;
  /** In the words of `process.platform` and `process.arch`. */
  readonly platform: string;
  readonly arch: string;
}

/** The bill as JSON text. `node` is the package that has Node's program, of which nothing else is taken. */
export function billOf(
  facts: ReleaseFacts,
  packages: readonly LockedPackage[],
  node: LockedPackage,
  imported: readonly string[],
): string {
  const self = `archipelago@${facts.version}`;
  const byPath = new Map(packages.map((one) => [one.path, purlOf(one)]));
  const refsOf = (paths: readonly string[]): string[] => [
    ...new Set(paths.map((path) => byPath.get(path) ?? '')),
  ];
  const libraries = new Map(packages.map((one) => [purlOf(one), one]));
  const content = {
    metadata: {
      timestamp: new Date(facts.committedAt * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': self,
        name: 'archipelago',
        version: facts.version,
        licenses: [{ expression: 'Apache-2.0' }],
        properties: [
          { name: 'archipelago:commit', value: facts.commit },
          { name: 'archipelago:platform', value: `${facts.platform}-${facts.arch}` },
        ],
      },
    },
    components: [
      {
        ...componentOf(node),
        type: 'platform',
        // What databases of vulnerabilities know it by.
        cpe: `cpe:2.3:a:nodejs:node.js:${node.version}:*:*:*:*:*:*:*`,
      },
      ...[...libraries.values()].map(componentOf),
    ],
    dependencies: [
      {
        ref: self,
        dependsOn: [purlOf(node), ...refsOf(imported.map((name) => `node_modules/${name}`))],
      },
      { ref: purlOf(node), dependsOn: [] },
      ...[...libraries].map(([ref, { needs }]) => ({ ref, dependsOn: refsOf(needs) })),
    ],
  };
  const bill = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: serialNumberOf(JSON.stringify(content)),
    version: 1,
    ...content,
  };
  return `${JSON.stringify(bill, null, 2)}\n`;
}

function componentOf(one: LockedPackage): Record<string, unknown> {
  const [scope, name] = one.name.startsWith('@') ? one.name.split('/') : [undefined, one.name];
  const [algorithm = '', digest = ''] = one.integrity.split(/-(.*)/s);
  if (algorithm !== 'sha512') throw new Error(`${one.name}: package-lock.json has no SHA-512 of it.`);
  return {
    type: 'library',
    'bom-ref': purlOf(one),
    ...(scope === undefined ? {} : { group: scope }),
    name,
    version: one.version,
    hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }],
    licenses: [{ expression: one.license }],
    purl: purlOf(one),
  };
}

/** https://github.com/package-url/purl-spec, type npm. */
function purlOf({ name, version }: LockedPackage): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

/** A UUID of version 8 (RFC 9562, section 5.8) of what it stands for. */
function serialNumberOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 3) | 8).toString(16);
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
