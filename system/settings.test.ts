/** Settings: whole or not at all, every fault at once, each a sentence that mends it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contentOf, endpoint, endpoints, integer, oneOf, optional, readSettings, text } from './settings.ts';

const shape = {
  APP_NAME: text('a short name', /^[a-z]{1,8}$/),
  APP_LISTEN: endpoint(),
  APP_LIMIT: integer(1, 100, 10),
  APP_MODE: oneOf(['fast', 'safe'], 'safe'),
  APP_EXTRA: optional(integer(0, 9)),
};
const good = { APP_NAME: 'relay', APP_LISTEN: '127.0.0.1:443' };

test('what is given is parsed and what is not gets its default', () => {
  const read = readSettings('APP_', shape, { ...good, APP_LIMIT: '100' });
  expect(read).toEqual({
    ok: true,
    value: {
      APP_NAME: 'relay',
      APP_LISTEN: { host: '127.0.0.1', port: 443 },
      APP_LIMIT: 100,
      APP_MODE: 'safe',
      APP_EXTRA: undefined,
    },
  });
});

test('every fault is told at once, with the name, the expectation and what was given', () => {
  const read = readSettings('APP_', shape, { APP_LISTEN: 'localhost', APP_LIMIT: 'abc', APP_MODE: 'slow' });
  expect(read.ok ? [] : read.fault).toEqual([
    'APP_NAME: expected a short name, got nothing',
    'APP_LISTEN: expected an IP address and a port, such as 192.0.2.7:443 or [2001:db8::7]:443, got "localhost"',
    'APP_LIMIT: expected a whole number between 1 and 100, got "abc"',
    'APP_MODE: expected "fast" or "safe", got "slow"',
  ]);
});

test('a misspelt name is a fault, and the right one is suggested', () => {
  const read = readSettings('APP_', shape, { ...good, APP_LIMTI: '5', OTHER: 'is not ours' });
  expect(read.ok ? [] : read.fault).toEqual(['APP_LIMTI: no such setting; did you mean APP_LIMIT?']);
});

test('a secret is never repeated in a fault', () => {
  const secret = { ...text('64 hex digits', /^[0-9a-f]{64}$/), secret: true as const };
  const read = readSettings('APP_', { APP_KEY: secret }, { APP_KEY: 'hunter2' });
  expect(read.ok ? [] : read.fault).toEqual(['APP_KEY: expected 64 hex digits, got something else']);
});

test('the value of a file setting is its content', () => {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-settings-'));
  try {
    const path = join(directory, 'key.pem');
    writeFileSync(path, 'content');
    const shape = { APP_KEY: contentOf('a key') };
    expect(readSettings('APP_', shape, { APP_KEY: path })).toEqual({
      ok: true,
      value: { APP_KEY: 'content' },
    });
    const missing = readSettings('APP_', shape, { APP_KEY: join(directory, 'none') });
    expect(missing.ok ? '' : missing.fault[0]).toContain('expected the path of a readable file with a key');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.each([
  ['[2001:db8::7]:443', { host: '2001:db8::7', port: 443 }],
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['127.0.0.1:65536', undefined],
  ['127.0.0.1', undefined],
  [':443', undefined],
])('%s as an endpoint', (given, expected) => {
  expect(endpoint().parse(given)).toEqual(expected);
});

test('no environment makes the parser throw', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), (environment) => {
      readSettings('APP_', shape, environment);
    }),
  );
});

test('several addresses may be given with commas, and one that is wrong makes all of them wrong', () => {
  const { parse } = endpoints();
  expect(parse('192.0.2.7:443')).toEqual([{ host: '192.0.2.7', port: 443 }]);
  expect(parse('192.0.2.7:443, [2001:db8::7]:444')).toEqual([
    { host: '192.0.2.7', port: 443 },
    { host: '2001:db8::7', port: 444 },
  ]);
  expect(parse('192.0.2.7:443,')).toBeUndefined();
  expect(parse('192.0.2.7:443,example.com:1')).toBeUndefined();
});
