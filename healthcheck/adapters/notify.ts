/**
 * Tells secondaries that the zone has changed (NOTIFY, RFC 1996), signed, over UDP, again and again at growing intervals
 * until each has confirmed. What is lost all the same they find out by themselves within a minute.
 */
import { createSocket } from 'node:dgram';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { Endpoint } from '../../system/settings.ts';
import { CLASS_IN, TYPE } from '../dns/message.ts';
import { encodeName } from '../dns/name.ts';
import { sealTsig, type TsigKey } from '../dns/tsig.ts';

export const NOTIFY_OUTCOMES = ['confirmed', 'unanswered', 'failed'] as const;
export type NotifyOutcome = (typeof NOTIFY_OUTCOMES)[number];

export interface NotifierOptions {
  readonly zone: string;
  readonly secondaries: readonly Endpoint[];
  readonly key: TsigKey;
  /** The address to send from: secondaries know their primary by it. */
  readonly from: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly notified: (outcome: NotifyOutcome) => void;
}

export interface Notifier {
  /** Begins anew with every secondary. */
  notify(): void;
  close(): void;
}

const WAITS_MS = [500, 1000, 2000, 4000, 8000] as const;
const OPCODE_NOTIFY = 4;

/** Sends nothing until it is asked to. */
export function createNotifier(options: NotifierOptions): Notifier {
  let stopAll: readonly (() => void)[] = [];
  const close = (): void => {
    for (const stop of stopAll) stop();
    stopAll = [];
  };
  return {
    notify: () => {
      close();
      stopAll = options.secondaries.map((secondary) => notifyOne(secondary, options));
    },
    close,
  };
}

/** One secondary, one socket, one id; gives the function that stops it. */
function notifyOne(secondary: Endpoint, options: NotifierOptions): () => void {
  const { clock, notified } = options;
  const [high = 0, low = 0] = options.random.bytes(2);
  const socket = createSocket(secondary.host.includes(':') ? 'udp6' : 'udp4');
  let cancel: (() => void) | undefined;
  let isOver = false;
  const stop = (): void => {
    if (isOver) return;
    isOver = true;
    cancel?.();
    socket.close();
  };
  const end = (outcome: NotifyOutcome): void => {
    if (isOver) return;
    stop();
    notified(outcome);
  };
  const send = (tries: number): void => {
    const wait = WAITS_MS[tries];
    if (wait === undefined) {
      end('unanswered');
      return;
    }
    const message = notifyMessage(options, high, low);
    socket.send(message, secondary.port, secondary.host, (error) => {
      if (error !== null) end('failed');
    });
    cancel = clock.after(wait, () => send(tries + 1));
  };
  socket.on('error', () => end('failed'));
  socket.on('message', (reply) => {
    const isReply = reply[0] === high && reply[1] === low && (reply[2] ?? 0) >>> 3 === (0x10 | OPCODE_NOTIFY);
    if (isReply) end('confirmed');
  });
  socket.bind({ address: options.from }, () => {
    if (!isOver) send(0);
  });
  return stop;
}

function notifyMessage({ zone, key, clock }: NotifierOptions, high: number, low: number): Uint8Array {
  const flags = [(OPCODE_NOTIFY << 3) | 0x04, 0];
  const question = [...encodeName(zone), 0, TYPE.SOA, 0, CLASS_IN];
  const message = Uint8Array.from([high, low, ...flags, 0, 1, 0, 0, 0, 0, 0, 0, ...question]);
  return sealTsig(message, { key, nowSeconds: Math.floor(clock.wallMs() / 1000) }).message;
}
