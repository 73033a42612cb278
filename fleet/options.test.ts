/** The command line: what is good is understood, what is wrong gets one sentence. */
import { describe, expect, test } from 'vitest';
import { parseCommand } from './options.ts';

const DEFAULTS = {
  kind: 'drill',
  site: 'aws',
  fault: 'kill',
  store: undefined,
  port: undefined,
  ratePerSecond: 60,
  faultSeconds: undefined,
  json: undefined,
  release: undefined,
};

describe('the command line', () => {
  test('drills aws with a kill when nothing is said', () => {
    expect(parseCommand(['drill'])).toEqual({ ok: true, value: DEFAULTS });
  });

  test('takes every flag, with a space or with an equals sign', () => {
    const words = ['--site', 'gcp', '--fault=none', '--store', 'memory', '--rate=24', '--seconds', '30'];
    expect(parseCommand(['drill', ...words, '--json', 'out.json', '--port=9443'])).toEqual({
      ok: true,
      value: {
        ...DEFAULTS,
        site: 'gcp',
        fault: 'none',
        store: 'memory',
        ratePerSecond: 24,
        faultSeconds: 30,
        json: 'out.json',
        port: 9443,
      },
    });
  });

  test('shows help when asked, or when nothing is asked', () => {
    for (const words of [[], ['help'], ['--help'], ['drill', '--help'], ['start', '--help']]) {
      expect(parseCommand(words)).toEqual({ ok: true, value: { kind: 'help' } });
    }
  });

  test.each([
    [['dril'], 'There is no command "dril"; did you mean drill?'],
    [['drill', '--sit', 'aws'], 'drill does not know "--sit"; did you mean --site?'],
    [['start', '--site', 'aws'], 'start does not know "--site"; did you mean --store?'],
    [['drill', 'aws'], 'drill does not know "aws"'],
    [['drill', '--site', 'azure'], '--site: expected "aws" or "gcp" or "hetzner", got "azure".'],
    [
      ['drill', '--fault', 'fire'],
      '--fault: expected the name of a fault, or "all" (`npm run drill -- --help` lists them), got "fire".',
    ],
    [['drill', '--store', 'disk'], '--store: expected "redis" or "memory", got "disk".'],
    [['drill', '--rate', '0'], '--rate: expected a whole number between 12 and 2000, got "0".'],
    [['drill', '--seconds', '1e3'], '--seconds: expected a whole number between 10 and 3600, got "1e3".'],
    [['drill', '--port', '70000'], '--port: expected a whole number between 1 and 65535, got "70000".'],
    [['drill', '--json'], '--json: expected the path of a file to write, got nothing.'],
    [['drill', '--rate', '60', '--rate', '60'], '--rate is given twice.'],
  ])('refuses %j', (words, sentence) => {
    expect(parseCommand(words)).toEqual({ ok: false, fault: sentence });
  });

  test('names every fault at once', () => {
    const parsed = parseCommand(['drill', '--site', 'azure', '--rate', 'x']);
    expect(parsed).toMatchObject({ ok: false });
    if (!parsed.ok) expect(parsed.fault).toMatch(/--site.*--rate/);
  });
});
