/**
 * Making a push URL while some sites cannot.
 */
import { expect, test } from 'vitest';
import { ProtocolError, RefusedError, TransportError, UnavailableError } from './errors.ts';
import { createMailbox } from './mailbox.ts';
import { createSubscriptionAnywhere, type Subscription } from './push-url.ts';
import type { HttpResponse, Transport } from './transport.ts';
import { webClock, webRandom } from './web-clock.ts';

const PUSH_URL = 'https://relay.test/p/x';
const mailbox = await createMailbox(webRandom);

function answer(status: number, code: string, headers: Readonly<Record<string, string>>): HttpResponse {
  return { status, header: (name) => headers[name], body: new TextEncoder().encode(`{"code":"${code}"}`) };
}

const made = answer(201, '', { location: PUSH_URL });
const overloaded = answer(503, 'overloaded', { 'retry-after': '2' });

/** Asks sites of which the first gives the first answer, and so on; an error is thrown. */
async function ask(
  answers: readonly (HttpResponse | Error)[],
): Promise<{ readonly asked: readonly string[]; readonly outcome: Subscription | Error }> {
  const asked: string[] = [];
  const transport: Transport = {
    connect: () => {
      throw new Error('no sockets here');
    },
    request: ({ origin, body }) => {
      const { token } = JSON.parse(new TextDecoder().decode(body)) as { readonly token: string };
      const claims = JSON.parse(atob(token.split('.')[1] ?? '')) as { readonly aud: string };
      expect(claims.aud).toBe(origin);
      const next = answers[asked.length] ?? new Error('asked too often');
      asked.push(origin);
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
    },
  };
  const sites = answers.map((_, place) => ({ origin: `https://${place}.test`, provider: `${place}` }));
  const outcome = await createSubscriptionAnywhere(mailbox, sites, {
    transport,
    clock: webClock,
    timeoutMs: 1000,
  }).catch((error: unknown) => (error instanceof Error ? error : new Error('not an error')));
  return { asked, outcome };
}

test('the first site that can makes it, with a token for itself', async () => {
  const { asked, outcome } = await ask([new TransportError('timeout', true), overloaded, made, made]);
  expect(outcome).toEqual({ endpoint: PUSH_URL, keys: mailbox.keys });
  expect(asked).toHaveLength(3);
});

test('a refusal is final and is asked of nobody else', async () => {
  const { asked, outcome } = await ask([answer(401, 'operator_token_invalid', {}), made]);
  expect(outcome).toEqual(new RefusedError(401, 'operator_token_invalid'));
  expect(asked).toHaveLength(1);
});

test('when no site can, the last one says why, and how long it asks for', async () => {
  const { outcome } = await ask([new TransportError('unreachable', false), overloaded]);
  expect(outcome).toBeInstanceOf(UnavailableError);
  expect(outcome).toMatchObject({ status: 503, code: 'overloaded', retryAfterMs: 2000 });
});

test('a promise without a push URL is a fault of the relay', async () => {
  expect((await ask([answer(201, '', {})])).outcome).toBeInstanceOf(ProtocolError);
});

test('without any site there is nobody to ask', async () => {
  expect((await ask([])).outcome).toBeInstanceOf(ProtocolError);
});
