/**
 * Signed requests to a certificate authority (RFC 8555 §6): nonces, JWS with the account's key, and its refusals as
 * named failures. Over HTTPS only, to no address that the authority's directory did not name, without redirects, and
 * within bounds of size and time.
 *
 * jose signs; the HTTPS is Node's own, since only so can an authority for tests be trusted without trusting it for
 * everything, and an attempt be stopped.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { SecureContext } from 'node:tls';
import { FlattenedSign, type JWK, type JWSHeaderParameters } from 'jose';
import { describeError } from '../../system/log.ts';
import { AcmeFailure, type AcmeFault, faultOf, objectOf, readProblem } from './fault.ts';

export interface AcmeReply {
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface SessionOptions {
  readonly directoryUrl: string;
  /** P-256, private. */
  readonly accountKey: JWK;
  readonly trust: SecureContext;
  readonly wallMs: () => number;
  readonly signal: AbortSignal;
}

export interface AcmeSession {
  /** The URL of a resource that the directory names; undefined when it has none. */
  url(resource: string): Promise<string | undefined>;
  /**
   * Posts, signed by the account once `use` has told which that is, by its public key before. A payload of undefined
   * is POST-as-GET (§6.3). Rejects with an AcmeFailure; `otherwise` names refusals that are nothing special.
   */
  post(url: string, payload: unknown, otherwise: AcmeFault): Promise<AcmeReply>;
  /** Unsigned. */
  get(url: string): Promise<AcmeReply>;
  /** From now on this account signs. */
  use(accountUrl: string): void;
  close(): void;
}

interface RawReply extends AcmeReply {
  readonly status: number;
}

const REQUEST_TIMEOUT_MS = 20_000;
const BODY_BYTES_MAX = 131_072;
/** Authorities refuse nonces that are old, and some refuse good ones now and then. */
const NONCE_ATTEMPTS_MAX = 8;
/** RFC 8555 §6.1 wants the client to say what it is. */
const USER_AGENT = 'archipelago-vantage';

/** Opens nothing until it is used. */
export function createAcmeSession(options: SessionOptions): AcmeSession {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  const send = sender(options, agent);
  let directory: Readonly<Record<string, unknown>> | undefined;
  let nonce: string | undefined;
  let accountUrl: string | undefined;
  const url = async (resource: string): Promise<string | undefined> => {
    directory ??= objectOf(parseJson((await get(options.directoryUrl)).text));
    const found = directory[resource];
    return typeof found === 'string' ? found : undefined;
  };
  const get = async (from: string): Promise<AcmeReply> => {
    const reply = await send('GET', from);
    if (reply.status !== 200) throw refusal(reply, 'not_acme', options.wallMs());
    return reply;
  };
  const freshNonce = async (): Promise<string> => {
    const found = nonce ?? nonceIn((await send('HEAD', (await url('newNonce')) ?? '')).headers);
    nonce = undefined;
    if (found === undefined) throw new AcmeFailure('not_acme', 'there is no nonce to be had');
    return found;
  };
  return {
    url,
    get,
    use: (account) => {
      accountUrl = account;
    },
    close: () => agent.destroy(),
    post: async (to, payload, otherwise) => {
      for (let attempt = 1; ; attempt += 1) {
        const signed = await signRequest(options.accountKey, payload, {
          nonce: await freshNonce(),
          url: to,
          ...(accountUrl === undefined ? { jwk: publicHalf(options.accountKey) } : { kid: accountUrl }),
        });
        const reply = await send('POST', to, signed);
        nonce = nonceIn(reply.headers);
        if (reply.status >= 200 && reply.status < 300) return reply;
        const isNonce = readProblem(parseJson(reply.text)).type === 'badNonce';
        if (!isNonce || attempt >= NONCE_ATTEMPTS_MAX) throw refusal(reply, otherwise, options.wallMs());
      }
    },
  };
}

/** The public half of an account key, in the members that its thumbprint counts (RFC 7638). */
export function publicHalf({ kty, crv, x, y }: JWK): JWK {
  return { kty, crv, x, y } as JWK;
}

/** JSON, or undefined for whatever is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Milliseconds that a reply asks to wait (RFC 9110 §10.2.3), as seconds or as a date; 0 when it does not say. */
export function retryAfterMs({ headers }: Pick<AcmeReply, 'headers'>, wallMs: number): number {
  const said = headers['retry-after'];
  if (said === undefined) return 0;
  const ms = /^\d{1,9}$/.test(said) ? Number(said) * 1000 : Date.parse(said) - wallMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

async function signRequest(key: JWK, payload: unknown, header: JWSHeaderParameters): Promise<string> {
  const bytes = new TextEncoder().encode(payload === undefined ? '' : JSON.stringify(payload));
  const signed = await new FlattenedSign(bytes).setProtectedHeader({ ...header, alg: 'ES256' }).sign(key);
  return JSON.stringify(signed);
}

function nonceIn(headers: IncomingHttpHeaders): string | undefined {
  const nonce = headers['replay-nonce'];
  return typeof nonce === 'string' ? nonce : undefined;
}

function refusal(reply: RawReply, otherwise: AcmeFault, wallMs: number): AcmeFailure {
  const problem = readProblem(parseJson(reply.text));
  const fault =
    reply.status === 429 ? 'rate_limited' : faultOf(problem, reply.status >= 500 ? 'unreachable' : otherwise);
  const said = problem.detail === '' ? `HTTP status ${reply.status}` : `${problem.type}: ${problem.detail}`;
  return new AcmeFailure(fault, said, retryAfterMs(reply, wallMs));
}

type Send = (method: 'GET' | 'HEAD' | 'POST', url: string, body?: string) => Promise<RawReply>;

function sender({ trust, signal }: SessionOptions, agent: Agent): Send {
  return async (method, url, body) => {
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
      throw new AcmeFailure('not_acme', 'the authority names an address that is not https');
    }
    const { promise, resolve, reject } = Promise.withResolvers<RawReply>();
    const outgoing = request(url, {
      method,
      agent,
      secureContext: trust,
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      headers: {
        'user-agent': USER_AGENT,
        ...(body === undefined ? {} : { 'content-type': 'application/jose+json' }),
      },
    } as Parameters<typeof request>[1] & object);
    outgoing.once('response', (response) => {
      readWhole(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        reject,
      );
    });
    outgoing.on('error', reject).end(body);
    try {
      return await promise;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof AcmeFailure ? error : new AcmeFailure('unreachable', describeError(error));
    }
  };
}

async function readWhole(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new AcmeFailure('not_acme', 'the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
