/**
 * One certificate from an authority (RFC 8555 §7.4): an order for all names, a DNS challenge for each, all of them
 * published before the authority is asked to look, then the certificate.
 */
import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import type { Clock } from '../../system/clock.ts';
import { readServerCertificate, type ServerCertificate } from '../../system/server-certificate.ts';
import { AcmeFailure, type AcmeFault, faultOf, listOf, objectOf, readProblem } from './fault.ts';
import { type AcmeReply, type AcmeSession, parseJson, publicHalf, retryAfterMs } from './session.ts';
import { makeSigningRequest } from './signing-request.ts';

/** A name, and the TXT values that prove control of it (RFC 8555 §8.4). */
export type ChallengeValues = ReadonlyMap<string, readonly string[]>;

export interface OrderOptions {
  readonly session: AcmeSession;
  readonly accountKey: JWK;
  readonly names: readonly string[];
  /** A profile that the authority's directory lists; undefined: its default. */
  readonly profile: string | undefined;
  /** The identifier of the certificate that this one replaces (RFC 9773 §5); undefined: none. */
  readonly replaces: string | undefined;
  /** Resolves once every nameserver that the authority may ask has them; rejects with an AcmeFailure. */
  readonly publish: (values: ChallengeValues) => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const POLL_FIRST_MS = 250;
const POLL_MS_MAX = 5000;
const NAMES_LENGTH_MAX = 200;

/** A chain and its key, held against the names; rejects with an AcmeFailure. */
export async function obtainCertificate(options: OrderOptions): Promise<ServerCertificate> {
  const { session, names } = options;
  const created = await createOrder(options);
  const order = objectOf(parseJson(created.text));
  const orderUrl = created.headers.location;
  if (orderUrl === undefined) throw new AcmeFailure('not_acme', 'the order has no URL');
  await proveControl(order, options);
  const { keyPem, request } = await makeSigningRequest(names);
  await untilStatus(orderUrl, ['ready', 'valid'], 'order_refused', options);
  await session.post(urlIn(order, 'finalize'), { csr: request }, 'order_refused');
  const done = await untilStatus(orderUrl, ['valid'], 'order_refused', options);
  const { text: chainPem } = await session.post(urlIn(done, 'certificate'), undefined, 'order_refused');
  const read = readServerCertificate({ chainPem, keyPem }, names);
  if (!read.ok) throw new AcmeFailure('wrong_certificate', read.fault);
  return read.value;
}

async function createOrder({ session, names, profile, replaces }: OrderOptions): Promise<AcmeReply> {
  const newOrder = await session.url('newOrder');
  if (newOrder === undefined) throw new AcmeFailure('not_acme', 'the directory names no newOrder');
  const order = {
    identifiers: names.map((value) => ({ type: 'dns', value })),
    ...(profile === undefined ? {} : { profile }),
  };
  if (replaces === undefined) return session.post(newOrder, order, 'order_refused');
  try {
    return await session.post(newOrder, { ...order, replaces }, 'order_refused');
  } catch (error) {
    // Only a hint (RFC 9773 §5): an authority that does not know the old certificate shall make a new one all the same.
    if (!(error instanceof AcmeFailure) || error.fault !== 'order_refused') throw error;
    return session.post(newOrder, order, 'order_refused');
  }
}

/** Publishes the challenges of all names, then has them all looked at. */
async function proveControl(order: Readonly<Record<string, unknown>>, options: OrderOptions): Promise<void> {
  const { session, accountKey, publish } = options;
  const thumbprint = await calculateJwkThumbprint(publicHalf(accountKey));
  const values = new Map<string, string[]>();
  const pending: { readonly authorization: string; readonly challenge: string }[] = [];
  for (const authorization of listOf(order['authorizations']).filter((url) => typeof url === 'string')) {
    const { text } = await session.post(authorization, undefined, 'order_refused');
    const { status, identifier, challenges } = objectOf(parseJson(text));
    if (status === 'valid') continue;
    const name = objectOf(identifier)['value'];
    const challenge = listOf(challenges)
      .map(objectOf)
      .find(({ type }) => type === 'dns-01');
    const token = challenge?.['token'];
    if (challenge === undefined || typeof name !== 'string' || typeof token !== 'string') {
      throw new AcmeFailure('order_refused', 'the authority offers no DNS challenge');
    }
    const value = createHash('sha256').update(`${token}.${thumbprint}`).digest('base64url');
    values.set(name, [...(values.get(name) ?? []), value]);
    pending.push({ authorization, challenge: urlIn(challenge, 'url') });
  }
  if (pending.length === 0) return;
  await publish(values);
  for (const { challenge } of pending) await session.post(challenge, {}, 'challenge_failed');
  for (const { authorization } of pending) {
    await untilStatus(authorization, ['valid'], 'challenge_failed', options);
  }
}

/** Asks until a resource has one of these states; every state but those that come before them is a failure. */
async function untilStatus(
  url: string,
  wanted: readonly string[],
  otherwise: AcmeFault,
  { session, clock, signal }: OrderOptions,
): Promise<Readonly<Record<string, unknown>>> {
  for (let attempt = 0; ; attempt += 1) {
    const reply = await session.post(url, undefined, otherwise);
    const resource = objectOf(parseJson(reply.text));
    const status = String(resource['status']);
    if (wanted.includes(status)) return resource;
    if (!['pending', 'processing', 'ready'].includes(status)) throw whyInvalid(resource, otherwise);
    const askedMs = retryAfterMs(reply, clock.wallMs());
    await clock.sleep(Math.max(askedMs, Math.min(POLL_MS_MAX, POLL_FIRST_MS * 2 ** attempt)), signal);
  }
}

/** The error of an order, or of the challenge of an authorization that failed. */
function whyInvalid(resource: Readonly<Record<string, unknown>>, otherwise: AcmeFault): AcmeFailure {
  const ofChallenge = listOf(resource['challenges'])
    .map((one) => objectOf(one)['error'])
    .find((error) => error !== undefined);
  const problem = readProblem(resource['error'] ?? ofChallenge);
  const name = objectOf(resource['identifier'])['value'];
  const about = typeof name === 'string' ? ` (${name.slice(0, NAMES_LENGTH_MAX)})` : '';
  return new AcmeFailure(
    faultOf(problem, otherwise),
    `${problem.type === '' ? 'invalid' : problem.type}: ${problem.detail}${about}`,
  );
}

function urlIn(resource: Readonly<Record<string, unknown>>, member: string): string {
  const url = resource[member];
  if (typeof url !== 'string') throw new AcmeFailure('not_acme', `the answer has no ${member}`);
  return url;
}
