/**
 * Making a push URL for a mailbox (`POST /v1/push-urls`), and what a recipient hands to its senders: the same JSON
 * as a browser's `PushSubscription`, so every Web Push library can send to it.
 */
import type { Clock } from '../system/clock.ts';
import { utf8 } from './bytes.ts';
import type { RecipientKeys } from './encryption.ts';
import { ProtocolError, RefusedError, TransportError, UnavailableError } from './errors.ts';
import type { Site } from './fleet.ts';
import type { Mailbox } from './mailbox.ts';
import { isFinal, problemCode } from './problem.ts';
import { retryAfterMs } from './send-request.ts';
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
  readonly timeoutMs: number;
}

/**
 * Asks one site after the other, in the order given, until one makes a push URL, which leads to all of them. Throws
 * `RefusedError` as soon as one refuses for good, and otherwise what the last one threw.
 */
export async function createSubscriptionAnywhere(
  mailbox: Mailbox,
  sites: readonly Site[],
  options: Omit<PushUrlOptions, 'siteOrigin'>,
): Promise<Subscription> {
  let fault: unknown = new ProtocolError('a fleet without sites');
  for (const { origin } of sites) {
    try {
      return await createSubscription(mailbox, { ...options, siteOrigin: origin });
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof UnavailableError)) throw error;
      fault = error;
    }
  }
  throw fault;
}

/** Asks a site for a push URL. Throws `RefusedError`, `UnavailableError`, `TransportError` or `ProtocolError`. */
export async function createSubscription(mailbox: Mailbox, options: PushUrlOptions): Promise<Subscription> {
  const { clock, operatorToken, siteOrigin } = options;
  const token = await mailbox.token(siteOrigin, Math.floor(clock.wallMs() / 1000));
  const response = await options.transport.request(
    {
      origin: siteOrigin,
      method: 'POST',
      path: '/v1/push-urls',
      headers: {
        'content-type': 'application/json',
        ...(operatorToken === undefined ? {} : { authorization: `Bearer ${operatorToken}` }),
      },
      body: utf8(JSON.stringify({ token })),
    },
    { timeoutMs: options.timeoutMs },
  );
  if (response.status !== 201) {
    const code = problemCode(response.body);
    if (isFinal(response.status)) throw new RefusedError(response.status, code);
    const afterMs = retryAfterMs(response.header('retry-after'), clock.wallMs());
    throw new UnavailableError(response.status, code, afterMs);
  }
  const endpoint = response.header('location') ?? '';
  if (URL.parse(endpoint)?.protocol !== new URL(siteOrigin).protocol) {
    throw new ProtocolError('a push URL was promised and not given');
  }
  return { endpoint, keys: mailbox.keys };
}
