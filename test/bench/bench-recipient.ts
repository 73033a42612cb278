/**
 * One recipient of the load: a mailbox, a WebSocket of `relay.v1` at one relay, and signed acks in batches as the
 * client sends them.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type AckConfig, gather } from '../../client/acks.ts';
import { encodeAck, encodeHello } from '../../client/frames.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { openBenchSocket } from './bench-socket.ts';
import type { Target } from './push-connection.ts';

export interface BenchMailbox {
  /** A mailbox token for `audience` (docs/protocol.md). */
  token(audience: string): string;
  signAck(idBytes: Uint8Array): Buffer;
}

export interface BenchRecipient {
  /** How many messages its acks named so far. */
  readonly acked: () => number;
  /** Sends the acks that wait and resolves when the relay has closed as well. It beats by itself until then. */
  close(): Promise<void>;
}

export interface RecipientOptions {
  /** How long messages are gathered before they are acked together, as the client does it. */
  readonly gathering: AckConfig;
  /** Called for each message frame, repeats included. */
  readonly onBody: (body: Buffer) => void;
  /** Called when the socket ends and nobody closed it. */
  readonly onLost: (reason: string) => void;
}

const ACK_LINE = Buffer.from('archipelago ack v1\n', 'latin1');
const WINDOW = 256;
const BODY_AFTER_CODING = 28;

export function createBenchMailbox(): BenchMailbox {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const key: KeyObject = createPrivateKey({ key: jwk, format: 'jwk' });
  const header = base64urlJson({ alg: 'EdDSA', jwk: { kty: 'OKP', crv: 'Ed25519', x: jwk.x } });
  return {
    token: (audience) => {
      const nowSeconds = Math.floor(systemClock.wallMs() / 1000);
      const signed = `${header}.${base64urlJson({ aud: audience, iat: nowSeconds, exp: nowSeconds + 150 })}`;
      return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
    },
    signAck: (idBytes) => sign(null, Buffer.concat([ACK_LINE, idBytes]), key),
  };
}

function base64urlJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** Connects and resolves when the relay has said `ready`. Rejects when the socket ends before. */
export async function connectRecipient(
  target: Target,
  mailbox: BenchMailbox,
  { gathering, onBody, onLost }: RecipientOptions,
): Promise<BenchRecipient> {
  const ready = Promise.withResolvers<void>();
  let closing = false;
  let beat: NodeJS.Timeout | undefined;
  const socket = await openBenchSocket(target, {
    onBinary: (data) => {
      acks.add(data.subarray(3, 19));
      onBody(data.subarray(BODY_AFTER_CODING + (data[BODY_AFTER_CODING - 1] ?? 0)));
    },
    onText: (text) => {
      const { t, audience } = JSON.parse(text) as { t: string; audience?: string };
      if (t === 'welcome') socket.send(encodeHello([mailbox.token(audience ?? '')], WINDOW));
      if (t === 'ready') ready.resolve();
    },
    onEnd: (reason) => {
      clearInterval(beat);
      ready.reject(new Error(reason));
      if (!closing) onLost(reason);
    },
  });
  const acks = createAckBatch(mailbox, gathering, socket.send);
  await ready.promise;
  beat = setInterval(() => socket.send('{"t":"beat"}'), 4000);
  return {
    acked: acks.count,
    close: async () => {
      closing = true;
      acks.flush();
      await socket.close();
    },
  };
}

interface AckBatch {
  add(id: Buffer): void;
  readonly count: () => number;
  readonly flush: () => void;
}

function createAckBatch(
  mailbox: BenchMailbox,
  gathering: RecipientOptions['gathering'],
  send: (frame: Uint8Array) => void,
): AckBatch {
  let ids: Buffer[] = [];
  let count = 0;
  let before = { sentMs: Number.NEGATIVE_INFINITY, ids: 0 };
  let cancelTimer: (() => void) | undefined;
  let idsMax = 0;
  const begin = (): void => {
    const sinceMs = systemClock.monotonicMs() - before.sentMs;
    const end = gather({ sinceMs, ids: before.ids }, gathering, systemRandom.fraction());
    idsMax = end.ids;
    cancelTimer = systemClock.after(end.forMs, flush);
  };
  const flush = (): void => {
    cancelTimer?.();
    cancelTimer = undefined;
    if (ids.length === 0) return;
    const idBytes = Buffer.concat(ids);
    count += ids.length;
    before = { sentMs: systemClock.monotonicMs(), ids: ids.length };
    ids = [];
    send(encodeAck(0, mailbox.signAck(idBytes), idBytes));
  };
  return {
    add: (id) => {
      if (ids.length === 0) begin();
      ids.push(id);
      if (ids.length >= idsMax) flush();
    },
    count: () => count,
    flush,
  };
}
