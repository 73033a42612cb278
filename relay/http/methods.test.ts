/** The right address with the wrong method, for every route of docs/protocol.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ServedRelay, serveRelay } from '../../test/support/served-relay.ts';

const protocol = readFileSync(join(import.meta.dirname, '../../docs/protocol.md'), 'utf8');
const routes = [...protocol.matchAll(/`(GET|POST|DELETE) (\/[^`? ]+)/g)].map(
  ([, method = '', path = '']) => [method, path.replace(/<.*>$/, 'x')] as const,
);

let relay: ServedRelay;

beforeAll(async () => {
  relay = await serveRelay();
});

afterAll(async () => relay[Symbol.asyncDispose]());

test.each(routes)('%s %s is told from what there is not', async (method, path) => {
  for (const wrong of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'].filter((one) => one !== method)) {
    const answer = await relay.ask(wrong, path);
    expect([answer.status, String(answer.headers['allow']).split(', ')[0]], wrong).toEqual([405, method]);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'method_not_allowed' });
  }
});

test('a request without an upgrade where recipients connect says what to speak', async () => {
  const answer = await relay.ask('GET', '/v1/ws');
  expect(answer.status).toBe(426);
  expect([answer.headers['upgrade'], answer.headers['connection']]).toEqual(['websocket', 'Upgrade, close']);
});

test('nobody may look at a push URL, and it is not gone for that', async () => {
  const answer = await relay.ask('GET', relay.recipient.path);
  expect([answer.status, answer.headers['allow']]).toEqual([405, 'POST']);
});
