/**
 * What the drill tells a client process: who its clients are, where they may look, and at what pace they send. One
 * JSON document on its standard input; after it, one command a line.
 */
import type { MailboxExport } from '../../client/mailbox.ts';
import type { Subscription } from '../../client/push-url.ts';
import type { Nameserver } from './dns-question.ts';

/**
 * `dns`: connects only to the first address of a fresh answer. `failover`: uses the client library with all sites.
 * `late`: only reads, at the end, each mailbox through one site alone. `surge` and `fill` send as `failover` does and
 * are load, not witnesses; what `fill` sends is read by nobody.
 */
export type Population = 'dns' | 'failover' | 'late' | 'surge' | 'fill';

/** Those with mailboxes of their own. */
export type Readers = Extract<Population, 'dns' | 'failover' | 'late'>;

export interface PlannedSite {
  readonly name: string;
  readonly origin: string;
  readonly address: string;
}

export interface PlannedMailbox {
  /** How the ledgers call it. */
  readonly label: string;
  readonly mailbox: MailboxExport;
  /** Through which site alone a late reader reads it; '' for the others. */
  readonly through: string;
}

export interface PlannedAddressee {
  readonly label: string;
  readonly subscription: Subscription;
  /** It has a recipient while the drill runs. The others are read at the end. */
  readonly isRead: boolean;
}

export interface ClientPlan {
  readonly runId: string;
  readonly population: Population;
  readonly seed: number;
  readonly ledger: string;
  readonly authorityPem: string;
  readonly canonicalOrigin: string;
  readonly zone: string;
  readonly nameservers: readonly Nameserver[];
  readonly sites: readonly PlannedSite[];
  /** Each has a recipient in this process. */
  readonly mailboxes: readonly PlannedMailbox[];
  /** Every sender sends to all of them in turn. */
  readonly addressees: readonly PlannedAddressee[];
  readonly senders: number;
  /** Between two sends of one sender, milliseconds. */
  readonly intervalMs: number;
  readonly payloadBytes: number;
}

/** `start` and `stop` the senders; `finish`: close the recipients and end. */
export type ClientCommand = 'start' | 'stop' | 'finish';

/** What a client process says on its standard output, as JSON, one a line. */
export interface ClientProgress {
  readonly attempted: number;
  readonly accepted: number;
  readonly failed: number;
  /** Sends that have begun and not ended. */
  readonly open: number;
  /** Of the mailboxes of this process. */
  readonly delivered: number;
  /** Accepted for mailboxes that have a recipient during the run, of any process. */
  readonly acceptedForReaders: number;
  /** Recipients that can receive now. */
  readonly linked: number;
  /** Late readers whose mailbox had nothing more. */
  readonly emptied: number;
}

export const NO_PROGRESS: ClientProgress = {
  attempted: 0,
  accepted: 0,
  failed: 0,
  open: 0,
  delivered: 0,
  acceptedForReaders: 0,
  linked: 0,
  emptied: 0,
};
