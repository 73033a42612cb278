/**
 * What a sender asks for, checked, and turned once into the request (RFC 8030 §5) that every attempt repeats byte
 * for byte: the message id is derived from it, so that all attempts are one message.
 */
import type { Ciphertext } from './ciphertext.ts';
import { UsageError, type UsageFault } from './errors.ts';
import type { Fleet, Site } from './fleet.ts';
import type { HttpRequest } from './transport.ts';

/**
 * RFC 8030 §5.3.
 * @public
 */
export type Urgency = 'very-low' | 'low' | 'normal' | 'high';

export interface SendOptions {
  /** How long the fleet keeps the message for an absent recipient; 0 means now or never. */
  readonly ttlSeconds: number;
  readonly urgency?: Urgency;
  /** Up to 32 characters of `A–Z a–z 0–9 - _`; a newer message replaces an older one of the same topic. */
  readonly topic?: string;
  /** 1 to 64 printable ASCII characters without blanks. Instead of the body it decides which sends are the same message. */
  readonly idempotencyKey?: string;
  /** Gives up, without a word about what became of it, when it aborts. */
  readonly signal?: AbortSignal;
}

/** Everything of a request but where it goes. */
export type RepeatableRequest = Omit<HttpRequest, 'origin'>;

/** `authorization`: who the sender is (vapid.ts). Throws `UsageError` (options_out_of_range). */
export function createSendRequest(
  path: string,
  content: Ciphertext,
  options: SendOptions,
  authorization?: string,
): RepeatableRequest {
  const { ttlSeconds, urgency, topic, idempotencyKey } = options;
  const fits =
    Number.isSafeInteger(ttlSeconds) &&
    ttlSeconds >= 0 &&
    (topic === undefined || /^[A-Za-z0-9_-]{1,32}$/.test(topic)) &&
    (idempotencyKey === undefined || /^[\x21-\x7e]{1,64}$/.test(idempotencyKey)) &&
    /^[\x21-\x7e]{1,64}$/.test(content.coding);
  if (!fits) throw new UsageError('options_out_of_range');
  return {
    method: 'POST',
    path,
    headers: {
      ttl: String(ttlSeconds),
      ...(authorization === undefined ? {} : { authorization }),
      ...(urgency === undefined ? {} : { urgency }),
      ...(topic === undefined ? {} : { topic }),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(content.coding === 'aes128gcm'
        ? { 'content-type': 'application/octet-stream', 'content-encoding': content.coding }
        : { 'content-type': content.coding }),
    },
    body: content.body,
  };
}

/** Where something is: the site or the fleet, and the path with the query. */
interface Place {
  readonly origin: string;
  readonly path: string;
}

/** A push URL taken apart. Throws `UsageError` (push_url_malformed). */
export function parsePushUrl(pushUrl: string): Place {
  return placeOf(pushUrl) ?? fault('push_url_malformed');
}

/** The address of an accepted message taken apart. Throws `UsageError` (location_malformed). */
export function parseLocation(location: string): Place {
  return placeOf(location) ?? fault('location_malformed');
}

function placeOf(address: string): Place | undefined {
  const url = URL.parse(address);
  if (url === null || url.username !== '' || url.password !== '') return undefined;
  return { origin: url.origin, path: url.pathname + url.search };
}

function fault(name: UsageFault): never {
  throw new UsageError(name);
}

/**
 * Where a push URL may be posted to: the sites of the fleet that made it, and its own origin as the last resort,
 * since the list of sites may have aged. Another fleet's push URL only goes to its own origin: a capability must not
 * be shown to strangers, and their 404 would say nothing about it.
 */
export function destinationsOf(
  pushOrigin: string,
  fleet: Fleet | undefined,
  sites: readonly Site[],
): readonly Site[] {
  const known = fleet?.canonicalOrigin === pushOrigin || sites.some(({ origin }) => origin === pushOrigin);
  if (!known) return [{ origin: pushOrigin, provider: 'any' }];
  return sites.some(({ origin }) => origin === pushOrigin)
    ? sites
    : [...sites, { origin: pushOrigin, provider: 'any' }];
}
