/**
 * Making a push URL for a mailbox (`POST /v1/push-urls`), and what a recipient hands to its senders: the same JSON
 * as a browser's `PushSubscription`, so every Web Push library can send to it. And taking one out of use again
 * (`POST /v1/revocations`).
 */
import type { Clock } from '../system/clock.ts';
import { askAnySite, requireStatus } from './any-site.ts';
import { concat, toBase64url, utf8 } from './bytes.ts';
import type { RecipientKeys } from './encryption.ts';
import { ProtocolError, RefusedError, UsageError } from './errors.ts';
import { fetchInfo, type Site } from './fleet.ts';
import { type Mailbox, REVOKE_LINE } from './mailbox.ts';
import { parsePushUrl } from './send-request.ts';
import type { Transport } from './transport.ts';

/** The address and keys by which somebody can send to a mailbox. Whoever has it can send. */
export interface Subscription {
  /** The push URL. */
  readonly endpoint: string;
  readonly keys: RecipientKeys;
}

export interface PushUrlOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** The site's origin, which is also the audience of the token; not the canonical one. */
  readonly siteOrigin: string;
  /** Needed unless the operator opened minting. */
  readonly operatorToken?: string;
  /** Public key of the only sender that may use the push URL (RFC 8292), as of `VapidKey`. */
  readonly vapidPublicKey?: string;
  /** For each site that is asked, milliseconds. */
  readonly timeoutMs: number;
}

/** Asks one site after the other until one makes a push URL, which leads to all of them. Throws as `askAnySite`. */
export function createSubscriptionAnywhere(
  mailbox: Mailbox,
  sites: readonly Site[],
  options: Omit<PushUrlOptions, 'siteOrigin'>,
): Promise<Subscription> {
  return askAnySite(sites, ({ origin }) => createSubscription(mailbox, { ...options, siteOrigin: origin }));
}

/** Clocks that differ by less cannot be why a token is refused, milliseconds. */
const CLOCK_DIFFERENCE_MS_MIN = 5000;

/**
 * Asks a site for a push URL. A token that is refused usually means that our clock is wrong, so the site is asked for
 * its time and then once more; believing it is harmless, since such a token is good at that site only. Throws
 * `RefusedError`, `UnavailableError`, `TransportError` or `ProtocolError`.
 */
export async function createSubscription(mailbox: Mailbox, options: PushUrlOptions): Promise<Subscription> {
  const { clock, siteOrigin, timeoutMs, transport } = options;
  try {
    return await askForPushUrl(mailbox, options, clock.wallMs());
  } catch (error) {
    if (!(error instanceof RefusedError) || error.code !== 'mailbox_token_invalid') throw error;
    const { timeMs } = await fetchInfo(transport, siteOrigin, { timeoutMs });
    if (Math.abs(timeMs - clock.wallMs()) < CLOCK_DIFFERENCE_MS_MIN) throw error;
    return askForPushUrl(mailbox, options, timeMs);
  }
}

/** `nowMs`: the time for which the token is made. */
async function askForPushUrl(
  mailbox: Mailbox,
  options: PushUrlOptions,
  nowMs: number,
): Promise<Subscription> {
  const { clock, operatorToken, siteOrigin, vapidPublicKey } = options;
  const token = await mailbox.token(siteOrigin, Math.floor(nowMs / 1000));
  const wish = { token, ...(vapidPublicKey === undefined ? {} : { vapid: vapidPublicKey }) };
  const response = await options.transport.request(
    {
      origin: siteOrigin,
      method: 'POST',
      path: '/v1/push-urls',
      headers: {
        'content-type': 'application/json',
        ...(operatorToken === undefined ? {} : { authorization: `Bearer ${operatorToken}` }),
      },
      body: utf8(JSON.stringify(wish)),
    },
    { timeoutMs: options.timeoutMs },
  );
  requireStatus(response, 201, clock.wallMs());
  const endpoint = response.header('location') ?? '';
  if (URL.parse(endpoint)?.protocol !== new URL(siteOrigin).protocol) {
    throw new ProtocolError('a push URL was promised and not given');
  }
  return { endpoint, keys: mailbox.keys };
}

const ID_BYTES = 16;

/**
 * Makes a push URL of this mailbox useless for ever: resolves once one site knows, the others hear of it, and within
 * seconds each answers senders with 410. Messages that were accepted before still arrive. The proof is a
 * signature over an id that only the push URL has. Throws `UsageError` (push_url_malformed), or as `askAnySite`.
 */
export async function revokePushUrl(
  mailbox: Mailbox,
  pushUrl: string,
  sites: readonly Site[],
  { transport, clock, timeoutMs }: Pick<PushUrlOptions, 'transport' | 'clock' | 'timeoutMs'>,
): Promise<void> {
  const capability = /^\/p\/([A-Za-z0-9_-]+)$/.exec(parsePushUrl(pushUrl).path)?.[1];
  if (capability === undefined) throw new UsageError('push_url_malformed');
  const digest = await crypto.subtle.digest('SHA-256', concat(REVOKE_LINE, utf8(capability)));
  const signature = await mailbox.signRevocation(new Uint8Array(digest).subarray(0, ID_BYTES));
  const claim = { capability, key: mailbox.publicKey, signature: toBase64url(signature) };
  const body = utf8(JSON.stringify(claim));
  await askAnySite(sites, async ({ origin }) => {
    const headers = { 'content-type': 'application/json' };
    const path = '/v1/revocations';
    const request = { origin, method: 'POST', path, headers, body } as const;
    requireStatus(await transport.request(request, { timeoutMs }), 204, clock.wallMs());
  });
}
