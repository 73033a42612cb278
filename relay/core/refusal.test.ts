/** docs/protocol.md and the code name the same refusals and close codes, with the same numbers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REFUSALS } from './refusal.ts';
import { CLOSE_CODES } from './session.ts';

const protocol = readFileSync(join(import.meta.dirname, '../../docs/protocol.md'), 'utf8');

/** Every `code` that stands with a status, in the table of refusals and in the text. */
function documentedRefusals(): Map<string, number> {
  const found = new Map<string, number>();
  const note = (status: string, codes: string): void => {
    for (const [, code = ''] of codes.matchAll(/`([a-z_]+)`/g)) found.set(code, Number(status));
  };
  for (const [, status = '', codes = ''] of protocol.matchAll(/^\| (\d{3}) +\| ([^|]+)\|/gm)) {
    note(status, codes);
  }
  for (const [, status = '', code = ''] of protocol.matchAll(/`(\d{3}) ([a-z_]+)`/g)) {
    note(status, `\`${code}\``);
  }
  return found;
}

test('every refusal is documented with its status, and no other', () => {
  const ours = new Map(Object.entries(REFUSALS).map(([code, { status }]) => [code, status] as const));
  expect([...documentedRefusals()].toSorted()).toEqual([...ours].toSorted());
});

test('every 503 says when to come back, and nothing else does', () => {
  for (const [code, { status, retryAfterSeconds }] of Object.entries(REFUSALS)) {
    expect(retryAfterSeconds !== undefined, code).toBe(status === 503);
  }
});

test('every close code is documented, and no other', () => {
  const documented = [...protocol.matchAll(/^\| (1\d{3}|4\d{3}) +\|/gm)].map(([, code]) => Number(code));
  expect(documented.toSorted()).toEqual(Object.values(CLOSE_CODES).toSorted());
});
