/** What is in a release: the whole of it, and nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ENTRIES, isShipped, packagesImported, SOURCE_FOLDERS } from './contents.ts';
import type { Lockfile } from './lockfile.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const shipped = SOURCE_FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
).filter((path) => isShipped(path) && path.endsWith('.ts'));

test.each([
  ['relay/main.ts', true],
  ['fleet/manifest/signed.ts', true],
  ['LICENSE', true],
  ['relay/admission.test.ts', false],
  ['healthcheck/README.md', false],
  ['fleet/local/fleet.ts', false],
  ['infra/config.ts', false],
  ['test/mutants/relay-accepts-one.ts', false],
  ['relay-of-somebody-else/main.ts', false],
  ['.env', false],
])('%s: %s', (path, expected) => {
  expect(isShipped(path)).toBe(expected);
});

test('every program in it finds what it imports in it', () => {
  expect(shipped).toEqual(expect.arrayContaining([...ENTRIES]));
  const missing = shipped.flatMap((path) =>
    [...read(path).matchAll(/from '(\.[^']+)'|import\('(\.[^']+)'\)/g)]
      .map(([, from, lazy]) => join(dirname(path), from ?? lazy ?? ''))
      .filter((target) => !shipped.includes(target))
      .map((target) => `${path} imports ${target}`),
  );
  expect(missing).toEqual([]);
});

test('what it imports of others is what package.json has for it', () => {
  const names = new Set(shipped.flatMap((path) => packagesImported(read(path))));
  const { packages } = JSON.parse(read('package-lock.json')) as Lockfile;
  expect([...names].filter((name) => packages['']?.dependencies?.[name] === undefined)).toEqual([]);
  expect([...names].filter((name) => name.startsWith('@pulumi/'))).toEqual([]);
  expect(names).toContain('hono');
});

test('an import is of its package, in every form that sources have; types are nobody’s need', () => {
  const source = `
import type { Context } from 'hono';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import {
  type HttpBindings,
  getRequestListener,
} from '@hono/node-server/deep/path';
import 'reflect-metadata';
import { join } from 'node:path';
import { ok } from '../system/result.ts';
export { x } from 'jose';
const late = await import('ws');
`;
  expect(packagesImported(source)).toEqual([
    'hono',
    'hono',
    '@hono/node-server',
    'reflect-metadata',
    'jose',
    'ws',
  ]);
});
