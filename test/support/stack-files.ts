/**
 * The example stack files, as a user would fill them in: a release, a key and the secret files of every site.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { SiteSpec } from '../../infra/site.ts';
import { secretsOf } from './mock-engine.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Names of the example stack files. */
export const STACK_FILES: readonly string[] = readdirSync(join(ROOT, 'infra/stacks')).filter((name) =>
  name.endsWith('.yaml'),
);

/** The `config:` of an example stack file. */
export function readStack(file: string): Record<string, unknown> {
  return (readYaml(join('infra/stacks', file)) as { config: Record<string, unknown> }).config;
}

/** The same with everything that a user has to give. */
export function filledStack(file: string): Record<string, unknown> {
  const config = readStack(file);
  const specs = config['archipelago:sites'] as SiteSpec[];
  return {
    ...config,
    'archipelago:release': {
      ...(config['archipelago:release'] as object),
      sha256: 'ab'.repeat(32),
    },
    'archipelago:manifestKey': 'k'.repeat(43),
    'archipelago:secrets': Object.fromEntries(specs.map((spec) => [spec.name, secretsOf(spec)])),
  };
}

/** Reads a file of the project with the reader of YAML that the SDK brings along. */
export function readYaml(path: string): unknown {
  const require = createRequire(createRequire(import.meta.url).resolve('@pulumi/pulumi'));
  const { load } = require('js-yaml') as { load: (text: string) => unknown };
  return load(readFileSync(join(ROOT, path), 'utf8'));
}
