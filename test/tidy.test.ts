/**
 * The house rules that no linter knows, as a test that says how to mend what it finds.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { DEFAULT_HEALTH_POLICY } from '../fleet/manifest/manifest.ts';
import { VANTAGE_SETTINGS } from '../healthcheck/config.ts';
import { CAPACITY_KEPT_PERCENT, STRAINED_FOR_INTERVALS } from '../healthcheck/core/capacity.ts';
import { FORGIVEN_AFTER, RELAPSES_MAX, STALE_AFTER_INTERVALS } from '../healthcheck/core/detector.ts';
import { RELAY_SETTINGS } from '../relay/config.ts';

const ROOT = join(import.meta.dirname, '..');
const LINES_MAX = 450;
const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter(
  (name) => !/^(node_modules|\.git)(\/|$)/.test(name),
);
const sources = files.filter((name) => /\.(ts|mjs)$/.test(name));
const documents = files.filter((name) => name.endsWith('.md'));
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

test('every source file opens by saying what it is', () => {
  const silent = sources.filter((name) => !read(name).startsWith('/**'));
  expect(silent, 'begin each with /** what it is and why it is so */').toEqual([]);
});

test('no file is named for what it is not about', () => {
  const vague = sources.filter(
    (name) =>
      name !== 'infra/index.ts' &&
      /(^|[/-])(utils?|helpers?|common|misc|types|constants|index)\.(ts|mjs)$/.test(name),
  );
  expect(vague, 'name each for its subject').toEqual([]);
});

test('every file can be held in the head', () => {
  const long = sources
    .map((name) => ({ name, lines: read(name).split('\n').length }))
    .filter(({ lines }) => lines > LINES_MAX);
  expect(long, `split what has more than ${LINES_MAX} lines by subject`).toEqual([]);
});

test('nothing is left for later, and nothing tells of the past', () => {
  const left = sources
    .filter((name) => name !== 'test/tidy.test.ts')
    .filter((name) => /\b(TODO|FIXME|XXX|HACK)\b|\bpreviously\b/.test(read(name)));
  expect(left, 'do it, or open an issue; comments describe the present').toEqual([]);
});

test('every exported function says what it does', () => {
  const silent = sources
    .filter((name) => !name.startsWith('test/') && !name.endsWith('.test.ts'))
    .flatMap((name) => {
      const lines = read(name).split('\n');
      return lines
        .map((line, index) => ({ line, before: lines[index - 1] ?? '' }))
        .filter(({ line, before }) => /^export (async )?function /.test(line) && !before.endsWith('*/'))
        .map(({ line }) => `${name}: ${line}`);
    });
  expect(silent, 'write a docstring: units, errors, and the standard it follows').toEqual([]);
});

/** Which top-level folders may import which; test/ may import all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  system: [],
  relay: ['system', 'fleet/manifest/'],
  healthcheck: ['system', 'fleet/manifest/'],
  client: ['system'],
  infra: ['system'],
  fleet: ['system', 'relay', 'healthcheck', 'client'],
};

/** The message canary is a sender and a recipient, and no other file of the vantage knows what a message is. */
const MAY_ALSO_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'healthcheck/adapters/message-canary.ts': ['client/'],
};

test('imports between folders point the way the design says', () => {
  const wrong: string[] = [];
  for (const name of sources) {
    const [folder = ''] = name.split('/');
    const allowed = MAY_IMPORT[folder]?.concat(MAY_ALSO_IMPORT[name] ?? []);
    if (allowed === undefined || name.endsWith('.test.ts')) continue;
    for (const [, target = ''] of read(name).matchAll(/from '(\.[^']+)'|import\('(\.[^']+)'\)/g)) {
      const path = normalize(join(dirname(name), target));
      const fits = path.startsWith(`${folder}/`) || allowed.some((prefix) => path.startsWith(prefix));
      if (target !== '' && !fits) wrong.push(`${name} imports ${path}`);
    }
  }
  expect(wrong, 'see ARCHITECTURE.md, "Who may import whom"').toEqual([]);
});

test('every relative link in the documents leads somewhere', () => {
  const broken: string[] = [];
  for (const name of documents) {
    for (const [, target = ''] of read(name).matchAll(/\]\(([^)#]+?)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target) || target === '') continue;
      if (!existsSync(join(ROOT, dirname(name), target))) broken.push(`${name} → ${target}`);
    }
  }
  expect(broken).toEqual([]);
});

test.each([
  ['docs/configuration.md', 'RELAY_', Object.keys(RELAY_SETTINGS)],
  ['docs/configuration-vantage.md', 'VANTAGE_', Object.keys(VANTAGE_SETTINGS)],
])('%s lists every setting that begins with %s, and no other', (document, prefix, known) => {
  const listed = [...read(document).matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name = '']) => name);
  const ours = listed.filter((name) => name.startsWith(prefix));
  expect(ours.toSorted()).toEqual(known.toSorted());
});

test('every dependency has one exact version', () => {
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string> | undefined>;
  const loose = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
    Object.entries(manifest[kind] ?? {}).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
  );
  expect(loose, 'pin it: the lockfile and the manifest say the same').toEqual([]);
});

test('the lockfile has every platform of a package that comes per platform', () => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(lock.packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => !Object.keys(lock.packages).some((path) => path.endsWith(`node_modules/${name}`)));
  // npm leaves out what a registry did not give it, and `npm ci` then refuses the lockfile as a whole.
  expect(missing, 'put the entries back that the last npm install dropped').toEqual([]);
});

test('the table of defaults says what the program does', () => {
  const rows = read('docs/configuration-vantage.md').matchAll(
    /^\| ([^|]+?) +\| (`\w+`|fixed) +\| (\d+) +\|/gm,
  );
  const told = [...rows].map(([, what, field, value]) => [
    what,
    field === 'fixed' ? what : field,
    Number(value),
  ]);
  const policy = Object.entries(DEFAULT_HEALTH_POLICY).map(([field, value]) => [`\`${field}\``, value]);
  const fixed = [
    ['hold-down', RELAPSES_MAX],
    ['hold-down forgotten', FORGIVEN_AFTER],
    ['stale', STALE_AFTER_INTERVALS],
    ['strained', STRAINED_FOR_INTERVALS],
    ['capacity kept', CAPACITY_KEPT_PERCENT],
  ];
  const inTable = new Map(told.map(([, key, value]) => [key, value]));
  expect(inTable).toEqual(new Map([...policy, ...fixed] as [string, number][]));
  expect(told.map(([what]) => what)).toEqual(
    'interval,timeout,down,ok,up,hold-down,hold-down forgotten,stale,vote freshness,isolation,window,strained,capacity kept,warm-up,canary,TTL minimum,TTL maximum'.split(
      ',',
    ),
  );
});
