/** Whom a request is meant for, as RFC 9112 §3.2 has it. */
import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { asksForSocket, isAmbiguous } from './target.ts';

function request(url: string, headers: Readonly<Record<string, readonly string[]>>, method = 'GET') {
  const first = Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values[0]]));
  return { url, method, headers: first, headersDistinct: headers } as unknown as IncomingMessage;
}

test.each<[string, readonly string[], boolean]>([
  ['/p/x', ['relay.test'], false],
  ['*', ['relay.test'], false],
  ['/p/x', [], true],
  ['/p/x', ['relay.test', 'relay.test'], true],
  ['https://relay.test/p/x', ['relay.test'], false],
  ['https://relay.test:8443/p/x', ['relay.test:8443'], false],
  // Names of hosts have no case (RFC 9110 §4.2.3).
  ['https://RELAY.test/p/x', ['Relay.TEST'], false],
  ['https://other.test/p/x', ['relay.test'], true],
  ['https://relay.test:8443/p/x', ['relay.test'], true],
  ['relay.test:443', ['relay.test:443'], true],
  ['', ['relay.test'], true],
])('%s with the hosts %j: ambiguous is %s', (url, host, expected) => {
  expect(isAmbiguous(request(url, host.length === 0 ? {} : { host }))).toBe(expected);
});

test.each<[string, string, string, boolean]>([
  ['GET', '/v1/ws', 'websocket', true],
  ['GET', '/v1/ws?x', 'WebSocket', true],
  ['GET', '/v1/ws', 'h2c, websocket', true],
  ['POST', '/v1/ws', 'websocket', false],
  ['GET', '/v1/wss', 'websocket', false],
  ['GET', '/v1/ws', 'h2c', false],
  ['GET', '/v1/ws', 'notwebsocket', false],
])('%s %s with Upgrade: %s becomes a WebSocket: %s', (method, url, upgrade, expected) => {
  expect(asksForSocket(request(url, { upgrade: [upgrade] }, method))).toBe(expected);
});
