/**
 * The client runs in browsers: no file of it but the Node transport reaches, however indirectly, a `node:` module or
 * a package, or uses a global that only Node has.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const directory: string = import.meta.dirname;
const files = readdirSync(directory).filter(
  (name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'node-transport.ts',
);

/** Modules that a file loads at run time; `import type` is gone by then. */
function importsOf(path: string): readonly string[] {
  const source = readFileSync(path, 'utf8');
  const statements = source.matchAll(
    /^(?:import|export)\s(?!type\s)[^;]*?from\s+'([^']+)'|\bimport\(?\s*'([^']+)'/gm,
  );
  return Array.from(statements, (match) => match[1] ?? match[2] ?? '');
}

/** Everything that loading a file loads, that is not a file of ours. */
function foreignImportsOf(path: string, visited: Set<string> = new Set()): readonly string[] {
  if (visited.has(path)) return [];
  visited.add(path);
  return importsOf(path).flatMap((name) =>
    name.startsWith('.') ? foreignImportsOf(join(dirname(path), name), visited) : [name],
  );
}

test('the scan sees what the Node transport imports', () => {
  expect(foreignImportsOf(join(directory, 'node-transport.ts'))).toContain('node:https');
  expect(foreignImportsOf(join(directory, 'node-transport.ts'))).toContain('ws');
});

describe.each(files)('%s', (name) => {
  test('loads nothing but files of ours', () => {
    expect(foreignImportsOf(join(directory, name))).toEqual([]);
  });

  test('uses no global of Node alone', () => {
    const source = readFileSync(join(directory, name), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    expect(source).not.toMatch(/\b(?:Buffer|process|require|setImmediate|global|__dirname)\b/);
  });
});
