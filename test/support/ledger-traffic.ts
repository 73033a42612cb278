/**
 * Traffic with a ledger: one sender and one recipient of the drill, who write down what they do before and after they do
 * it, and the drill's own checker, which says from that alone what became of every message.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fleet } from '../../client/fleet.ts';
import type { Mailbox } from '../../client/mailbox.ts';
import type { NodeTransport } from '../../client/node-transport.ts';
import type { Subscription } from '../../client/push-url.ts';
import { createSender } from '../../client/sender.ts';
import { check, type Findings } from '../../fleet/drill/checker.ts';
import { openLedger, readLedger } from '../../fleet/drill/ledger.ts';
import { runRecipient } from '../../fleet/drill/recipient-loop.ts';
import { runSender } from '../../fleet/drill/sender-loop.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { eventually } from './eventually.ts';

export interface LedgerTraffic extends AsyncDisposable {
  /** Stops sending, waits until all that was accepted is there, or for `withinMs`, and says what the ledger says. */
  finish(withinMs: number): Promise<Findings>;
}

export interface TrafficOptions {
  readonly transport: NodeTransport;
  /** The sites that sender and recipient know. */
  readonly fleet: Fleet;
  readonly mailbox: Mailbox;
  readonly recipient: Subscription;
  readonly intervalMs: number;
}

const CHECKED = { runId: 'test', payloadBytes: 400 };
const LABEL = 'mailbox';
const TTL_SECONDS = 600;

/** Begins at once; the sender is open-loop, so it begins each send when it is due. */
export async function startTraffic(options: TrafficOptions): Promise<LedgerTraffic> {
  const { transport, fleet, recipient } = options;
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'));
  const path = join(directory, 'ledger.jsonl');
  const ledger = openLedger(path);
  const common = { clock: systemClock, random: systemRandom, ledger };
  const sender = createSender({ ...common, transport, fleet });
  const [sending, receiving] = [new AbortController(), new AbortController()];
  const nothing = (): void => undefined;
  const sent = runSender(
    {
      ...CHECKED,
      ...common,
      name: 'sender',
      send: async (to, plaintext) => (await sender.send(to, plaintext, { ttlSeconds: TTL_SECONDS })).origin,
      addressees: [{ label: LABEL, subscription: recipient, isRead: true }],
      first: 0,
      intervalMs: options.intervalMs,
      phaseMs: 0,
      onBegin: nothing,
      onEnd: nothing,
    },
    sending.signal,
  );
  const received = runRecipient(
    {
      ...common,
      name: 'recipient',
      planned: { label: LABEL, mailbox: await options.mailbox.export(), through: '' },
      kind: { transport, fleet, warm: 2, siteOf: (origin) => origin },
      fleet,
      onDelivered: nothing,
      onLinked: nothing,
      onEmpty: nothing,
    },
    receiving.signal,
  );
  const findings = (): Findings => check(readLedger(path), CHECKED);
  const stop = async (): Promise<void> => {
    sending.abort();
    receiving.abort();
    await Promise.allSettled([sent, received]);
  };
  return {
    finish: async (withinMs) => {
      sending.abort();
      await sent;
      const done = (): true | undefined => (findings().lost.length === 0 ? true : undefined);
      await eventually('all that was accepted is there', done, withinMs).catch(nothing);
      await stop();
      return findings();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      ledger.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
