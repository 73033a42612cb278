/**
 * The sender: encrypts a message once and has it accepted by some provider, whichever of them are up.
 *
 * `send` resolves when the fleet has promised to deliver (201: two providers hold it on disk) and rejects
 * otherwise, so that forgetting to look at an outcome cannot lose a message silently.
 */
import type { BackoffConfig } from '../system/backoff.ts';
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import type { Ciphertext } from './ciphertext.ts';
import { type DeliveryConfig, type DeliveryEnd, deliver } from './delivery.ts';
import { encrypt, type Padding } from './encryption.ts';
import { UnreachableError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import { createHedgeBudget } from './hedge-budget.ts';
import { createPatience } from './patience.ts';
import type { Subscription } from './push-url.ts';
import { retractMessage } from './retraction.ts';
import { createRoster, type Roster } from './roster.ts';
import { createSendRequest, destinationsOf, parsePushUrl, type SendOptions } from './send-request.ts';
import { createTally, type EventListener } from './tally.ts';
import type { Transport } from './transport.ts';
import { createVapidSigner, type VapidKey } from './vapid.ts';

const SENDER_EVENTS = [
  'attempt_first',
  'attempt_hedge',
  'attempt_retry',
  'attempt_failed',
  'hedge_withheld',
  'accepted',
  'refused',
  'gave_up',
  'retracted',
] as const;
/**
 * What a sender counts.
 * @public
 */
export type SenderEvent = (typeof SENDER_EVENTS)[number];

export interface SenderOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  /** Without it, every push URL is posted to its own origin, and DNS alone decides where that is. */
  readonly fleet?: Fleet;
  readonly preferredProvider?: string;
  /**
   * Without an answer for so long, the next provider is asked as well, in milliseconds; 300 by default. That is done
   * for a tenth of the sends at most, unless the provider is known to be failing (hedge-budget.ts).
   */
  readonly hedgeAfterMs?: number;
  /** 5000 by default. */
  readonly attemptTimeoutMs?: number;
  /** From the call of `send` until it gives up, in milliseconds; 30,000 by default. */
  readonly deadlineMs?: number;
  /** Between rounds over all providers; 100 ms doubling to 5 s by default. */
  readonly backoff?: BackoffConfig;
  /** Bytes; 65,536 by default. For a push URL of another service use 4096. */
  readonly bodyBytesMax?: number;
  /** `buckets` by default. */
  readonly padding?: Padding;
  /** Signs every message (RFC 8292); needed for push URLs that were made for this key. */
  readonly vapid?: VapidKey;
  readonly onEvent?: EventListener<SenderEvent>;
}

/**
 * The fleet has promised to deliver.
 * @public
 */
export interface Accepted {
  /** Of the site that answered first. */
  readonly origin: string;
  /** The `Location` of the message, by which `retract` takes it back; an empty text when the answer had none. */
  readonly location: string;
  /** How long it will be kept: what was asked for, or less. */
  readonly ttlSeconds: number;
  readonly attempts: number;
}

export interface Sender {
  /**
   * Encrypts to the recipient and sends. Rejects with `UsageError` before anything was sent, `RefusedError` when a
   * relay said no for good, `UnreachableError` when nobody accepted in time, or the reason of the signal.
   */
  send(recipient: Subscription, plaintext: Uint8Array, options: SendOptions): Promise<Accepted>;
  /** The same for what is already encrypted, such as the `content` of an `UnreachableError` or an MLS message. */
  sendCiphertext(pushUrl: string, content: Ciphertext, options: SendOptions): Promise<Accepted>;
  /**
   * Takes an accepted message back (RFC 8030 §7.2): resolves once one site has deleted it and will tell the others, also
   * when it was acked or has expired. A recipient that has it already keeps it. Rejects with `UsageError`
   * (location_malformed), `RefusedError`, `UnavailableError` or `TransportError`, or the reason of the signal; it may be
   * asked again.
   */
  retract(location: string, signal?: AbortSignal): Promise<void>;
  /** Replaces the fleet, after its sites have changed. */
  useFleet(fleet: Fleet): void;
  readonly counts: Readonly<Record<SenderEvent, number>>;
}

/** A sender with the defaults of docs/protocol.md: hedge after 300 ms, 5 s an attempt, 30 s a message. */
export function createSender(options: SenderOptions): Sender {
  const { clock, random } = options;
  const tally = createTally(SENDER_EVENTS, options.onEvent);
  const config = deliveryConfigOf(options);
  let fleet = options.fleet;
  const rosterOf = (sites: Fleet['sites']): Roster => createRoster(sites, random, options.preferredProvider);
  const shared = { hedgeBudget: createHedgeBudget(), patience: createPatience() };
  let roster = rosterOf(fleet?.sites ?? []);
  const authorize = options.vapid === undefined ? undefined : createVapidSigner(options.vapid, clock);

  const sendCiphertext: Sender['sendCiphertext'] = async (pushUrl, content, sendOptions) => {
    const { origin, path } = parsePushUrl(pushUrl);
    // The audience is the push URL's own origin at every site: the request is the same everywhere.
    const request = createSendRequest(path, content, sendOptions, await authorize?.(origin));
    const end = await deliver(
      request,
      {
        transport: options.transport,
        clock,
        random,
        config,
        order: () => destinationsOf(origin, fleet, roster.order()),
        onAttempt: (site, kind) => tally.note(`attempt_${kind}`, site.provider),
        onFailure: (site) => {
          roster.failed(site, clock.monotonicMs());
          tally.note('attempt_failed', site.provider);
        },
        ...shared,
        onHedgeWithheld: () => tally.note('hedge_withheld'),
      },
      sendOptions.signal,
    );
    switch (end.kind) {
      case 'accepted':
        roster.succeeded(end.site);
        tally.note('accepted', end.site.provider);
        return acceptedOf(end, sendOptions.ttlSeconds);
      case 'refused':
        tally.note('refused');
        throw end.error;
      case 'gave_up':
        tally.note('gave_up');
        throw new UnreachableError({ ...end, content });
    }
  };
  const retract: Sender['retract'] = async (location, signal) => {
    const limits = { timeoutMs: config.attemptTimeoutMs, ...(signal === undefined ? {} : { signal }) };
    await retractMessage(location, fleet, roster, { transport: options.transport, clock, limits });
    tally.note('retracted');
  };
  return {
    send: async (recipient, plaintext, sendOptions) => {
      const content = await encrypt(plaintext, recipient.keys, {
        random,
        bodyBytesMax: options.bodyBytesMax ?? 65_536,
        padding: options.padding ?? 'buckets',
      });
      return sendCiphertext(recipient.endpoint, content, sendOptions);
    },
    sendCiphertext,
    retract,
    useFleet: (next) => {
      fleet = next;
      roster = rosterOf(next.sites);
    },
    counts: tally.counts,
  };
}

function deliveryConfigOf(options: SenderOptions): DeliveryConfig {
  return {
    hedgeAfterMs: options.hedgeAfterMs ?? 300,
    attemptTimeoutMs: options.attemptTimeoutMs ?? 5000,
    deadlineMs: options.deadlineMs ?? 30_000,
    backoff: options.backoff ?? { baseMs: 100, maxMs: 5000 },
  };
}

function acceptedOf(end: Extract<DeliveryEnd, { kind: 'accepted' }>, ttlSeconds: number): Accepted {
  const ttl = end.response.header('ttl') ?? '';
  return {
    origin: end.site.origin,
    location: end.response.header('location') ?? '',
    ttlSeconds: /^\d{1,10}$/.test(ttl) ? Number(ttl) : ttlSeconds,
    attempts: end.attempts,
  };
}
