/**
 * Making a push URL while some sites cannot, and revoking it.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ProtocolError, RefusedError, TransportError, UnavailableError } from './errors.ts';
import { createMailbox } from './mailbox.ts';
import { createSubscriptionAnywhere, revokePushUrl, type Subscription } from './push-url.ts';
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

describe('a machine whose clock is wrong', () => {
  const HOUR_MS = 3_600_000;

  /** A site whose clock is `aheadMs` ahead, and believes tokens that are good for five minutes at most. */
  async function askAhead(aheadMs: number, isGood = true): Promise<{ asked: string[]; outcome: unknown }> {
    const asked: string[] = [];
    const relayMs = (): number => webClock.wallMs() + aheadMs;
    const origin = 'https://aws.relay.test';
    const transport: Transport = {
      connect: () => {
        throw new Error('no sockets here');
      },
      request: ({ path, body }) => {
        asked.push(path);
        if (path === '/v1/info') {
          const sites = [{ name: 'aws', provider: 'aws', origin }];
          const info = { sites, audience: origin, bodyBytesMax: 65_536, timeMs: relayMs() };
          const text = new TextEncoder().encode(JSON.stringify(info));
          return Promise.resolve({ status: 200, header: () => undefined, body: text });
        }
        const { token } = JSON.parse(new TextDecoder().decode(body)) as { readonly token: string };
        const { exp } = JSON.parse(atob(token.split('.')[1] ?? '')) as { readonly exp: number };
        const leftMs = exp * 1000 - relayMs();
        const fits = isGood && leftMs > 0 && leftMs <= 300_000;
        return Promise.resolve(fits ? made : answer(401, 'mailbox_token_invalid', {}));
      },
    };
    const sites = [{ origin, provider: 'aws' }];
    const options = { transport, clock: webClock, timeoutMs: 1000 };
    const outcome = await createSubscriptionAnywhere(mailbox, sites, options).catch(
      (error: unknown) => error,
    );
    return { asked, outcome };
  }

  test.each([HOUR_MS, -HOUR_MS])('by %i ms asks the site for its time, and gets a push URL', async (ms) => {
    const { asked, outcome } = await askAhead(ms);
    expect(outcome).toEqual({ endpoint: PUSH_URL, keys: mailbox.keys });
    expect(asked).toEqual(['/v1/push-urls', '/v1/info', '/v1/push-urls']);
  });

  test('is not to blame when the clocks agree, nor asked about twice', async () => {
    const refused = new RefusedError(401, 'mailbox_token_invalid');
    expect(await askAhead(0, false)).toEqual({ asked: ['/v1/push-urls', '/v1/info'], outcome: refused });
    expect(await askAhead(HOUR_MS, false)).toMatchObject({ outcome: refused, asked: { length: 3 } });
  });
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

describe('revoking', () => {
  const options = { clock: webClock, timeoutMs: 1000 };

  test('shows any one site the key of the mailbox and its signature of what only this push URL is called', async () => {
    const bodies: string[] = [];
    const transport: Transport = {
      connect: () => {
        throw new Error('no sockets here');
      },
      request: ({ method, path, body }) => {
        expect({ method, path }).toEqual({ method: 'POST', path: '/v1/revocations' });
        bodies.push(new TextDecoder().decode(body));
        if (bodies.length === 1) return Promise.reject(new TransportError('unreachable', false));
        return Promise.resolve(answer(204, '', {}));
      },
    };
    const sites = ['a', 'b', 'c'].map((provider) => ({ origin: `https://${provider}.test`, provider }));
    await revokePushUrl(mailbox, PUSH_URL, sites, { ...options, transport });
    expect(bodies).toHaveLength(2);
    const claim = JSON.parse(bodies[1] ?? '') as Readonly<Record<string, string>>;
    expect(claim).toMatchObject({ capability: 'x', key: mailbox.publicKey });
    const id = createHash('sha256').update('archipelago revoke v1\nx').digest().subarray(0, 16);
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: mailbox.publicKey }, format: 'jwk' });
    const signed = Buffer.concat([Buffer.from('archipelago revoke v1\n'), id]);
    expect(verify(null, signed, key, Buffer.from(claim['signature'] ?? '', 'base64url'))).toBe(true);
  });

  test.each(['not a URL', 'https://relay.test/m/x', 'https://relay.test/p/x?y'])(
    'asks nobody about %s, which is no push URL of ours',
    async (pushUrl) => {
      const transport: Transport = {
        connect: () => {
          throw new Error('no sockets here');
        },
        request: () => Promise.reject(new Error('asked')),
      };
      await expect(revokePushUrl(mailbox, pushUrl, [], { ...options, transport })).rejects.toMatchObject({
        fault: 'push_url_malformed',
      });
    },
  );
});
