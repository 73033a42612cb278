/**
 * Whether a request may come in now: room first, then the rates of its push URL and its mailbox, or of the token that
 * came with it.
 *
 * An address alone refuses nobody, since thousands of people may share one (ntfy#144): only while the relay is
 * crowded do the addresses that send the most wait first.
 */
import type { Clock } from '../system/clock.ts';
import type { Random } from '../system/random.ts';
import { createTokenBuckets, type TokenBuckets } from '../system/token-buckets.ts';
import { createAddressKey } from './address-key.ts';
import { hasRoom, isCrowded, type Load, smoothLag } from './core/load.ts';
import type { MailboxTag } from './core/mailbox.ts';
import { URGENCIES, type Urgency } from './core/message.ts';
import type { Refusal } from './core/refusal.ts';

export interface AdmissionDeps {
  /** Push requests that may be under way at once. */
  readonly requestsMax: number;
  readonly capabilityPerSecond: number;
  readonly mailboxPerSecond: number;
  /** Push URLs that one operator token may make. */
  readonly mintsPerSecond: number;
  /** Times that one mailbox may be asked for by its owner: hellos, polls, acks by poll, push URLs and revocations. */
  readonly asksPerSecond: number;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Admission {
  /**
   * Counts a request in; the returned function counts it out, once. Undefined: there is no room. `urgency` is the
   * header as it came; what is not one counts as normal, and is refused by name later.
   */
  enter(urgency: string | undefined, address: string | undefined): (() => void) | undefined;
  /** Takes from the rates of a push URL, by its name, and of its mailbox. */
  spend(capability: string, mailbox: MailboxTag): Refusal | undefined;
  /** Takes from the rate of a mailbox alone: for a sender that takes a message back. */
  readonly maySendTo: (mailbox: MailboxTag) => boolean;
  /** Takes from the rate of an operator token, named by its hash. */
  mayMint(operatorToken: string): boolean;
  /** Takes from the rate of a mailbox that its owner asks for. */
  readonly mayReceive: (mailbox: MailboxTag) => boolean;
  /** Whether recipients should go elsewhere: they are let in as messages of normal urgency are. */
  readonly isBusy: () => boolean;
  readonly isCrowded: () => boolean;
  load(): Load;
  /** Measures the event loop until `stopped`. */
  readonly run: (stopped: AbortSignal) => Promise<void>;
}

const MEASURE_MS = 100;
/** A full bucket holds what comes in so many seconds. */
export const BURST_SECONDS = 4;
const KEYS_MAX = 50_000;
/** What one address may send while the relay is crowded. */
const ADDRESS_PER_SECOND = 50;

/** Admission with every budget full. */
export function createAdmission(deps: AdmissionDeps): Admission {
  const { clock, requestsMax } = deps;
  const capabilities = bucketsOf(deps.capabilityPerSecond);
  const mailboxes = bucketsOf(deps.mailboxPerSecond);
  const addresses = bucketsOf(ADDRESS_PER_SECOND);
  const operators = bucketsOf(deps.mintsPerSecond);
  const owners = bucketsOf(deps.asksPerSecond);
  const addressKey = createAddressKey(clock, deps.random);
  let underWay = 0;
  let lagMs = 0;
  const load = (): Load => ({ underWay, underWayMax: requestsMax, lagMs });
  return {
    load,
    enter: (header, address) => {
      const urgency: Urgency = URGENCIES.find((known) => known === header?.toLowerCase()) ?? 'normal';
      const now = load();
      if (!hasRoom(now, urgency)) return undefined;
      if (isCrowded(now) && address !== undefined) {
        if (!addresses.take(addressKey(address), clock.monotonicMs())) return undefined;
      }
      underWay += 1;
      let isIn = true;
      return () => {
        if (isIn) underWay -= 1;
        isIn = false;
      };
    },
    spend: (capability, mailbox) => {
      const nowMs = clock.monotonicMs();
      if (!capabilities.take(capability, nowMs)) return 'capability_too_fast';
      return mailboxes.take(mailbox, nowMs) ? undefined : 'mailbox_too_fast';
    },
    maySendTo: (mailbox) => mailboxes.take(mailbox, clock.monotonicMs()),
    mayMint: (operatorToken) => operators.take(operatorToken, clock.monotonicMs()),
    mayReceive: (mailbox) => owners.take(mailbox, clock.monotonicMs()),
    isBusy: () => !hasRoom(load(), 'normal'),
    isCrowded: () => isCrowded(load()),
    run: async (stopped) => {
      while (!stopped.aborted) {
        const beganMs = clock.monotonicMs();
        await clock.sleep(MEASURE_MS, stopped).catch(() => undefined);
        lagMs = smoothLag(lagMs, clock.monotonicMs() - beganMs - MEASURE_MS);
      }
    },
  };
}

function bucketsOf(perSecond: number): TokenBuckets {
  return createTokenBuckets({ perSecond, burst: perSecond * BURST_SECONDS, keysMax: KEYS_MAX });
}
