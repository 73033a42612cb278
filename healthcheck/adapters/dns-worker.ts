/**
 * One thread of the nameserver: it answers datagrams in batches and does nothing else, so that neither a flood of queries
 * disturbs those who look and vote, nor their work the answers. It decides nothing: zone, cookie secrets and the end come
 * from the main thread, and what it counted is read by that.
 *
 * When the main thread has not turned for too long, the answer can no longer follow what happens, so the thread ends the
 * whole process: a supervisor starts it again, it begins with the answer that it saved, and resolvers ask the other
 * nameservers meanwhile. SERVFAIL would keep them away as well and mend nothing; a short TTL would go on misleading them.
 *
 * It never returns to an event loop. Between two batches it looks at one word of shared memory, and only when that has
 * changed at what was sent to it.
 */
import { writeSync } from 'node:fs';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../system/clock.ts';
import { createLog } from '../../system/log.ts';
import type { CompiledZone } from '../dns/compile.ts';
import { createDoor, type Door } from '../dns/door.ts';
import { createRateLimit } from '../dns/rate-limit.ts';
import { createTransfers } from '../dns/transfer.ts';
import type { TransferZone } from '../dns/transfer-zone.ts';
import { type Batch, createBatch } from './datagrams.ts';
import { createTally, type DnsWorkerData, type News, type Tally } from './dns-workers.ts';
import { createWatch, turn } from './heartbeat.ts';

const data = workerData as DnsWorkerData;
const state: {
  zone: CompiledZone | undefined;
  transfer: TransferZone | undefined;
  secrets: DnsWorkerData['secrets'];
} = {
  zone: undefined,
  transfer: undefined,
  secrets: data.secrets,
};
/** When `receive` comes back at once with nothing, the socket has trouble; this long it is left alone. */
const TROUBLE_PAUSE_MS = 10;

/** Whether to go on. */
function takeNews(): boolean {
  for (;;) {
    const received = receiveMessageOnPort(data.port);
    if (received === undefined) return true;
    const news = received.message as News;
    if (news.kind === 'stop') return false;
    if (news.kind === 'zone') state.zone = news.zone;
    else if (news.kind === 'transfer') state.transfer = news.zone;
    else state.secrets = news.secrets;
  }
}

function answerAll(batch: Batch, count: number, door: Door, tally: Tally): void {
  const arrival = {
    transport: 'udp' as const,
    source: batch.sourceOf(0),
    nowMs: systemClock.monotonicMs(),
    wallSeconds: Math.floor(systemClock.wallMs() / 1000),
  };
  for (let index = 0; index < count; index += 1) {
    if (batch.portOf(index) === 0) {
      tally.discarded('source_port_zero');
      continue;
    }
    const out = batch.out();
    arrival.source = batch.sourceOf(index);
    const reply = door(batch.packet(index), arrival, out);
    if (reply.kind === 'discarded') {
      tally.discarded(reply.reason);
      continue;
    }
    tally.replied(reply.rcode);
    if (reply.kind === 'reply') {
      batch.reply(index, reply.length);
      continue;
    }
    // One over UDP, and a batch has room for one reply to each query.
    const [message = out.subarray(0, 0)] = reply.messages;
    if (message.length > out.length) tally.discarded('send_failed');
    else {
      out.set(message);
      batch.reply(index, message.length);
    }
  }
  const failed = batch.send();
  for (let index = 0; index < failed; index += 1) tally.discarded('send_failed');
}

/** Says why, past the main thread, through which everything else would go; then nothing of this process is left. */
function endProcess(silentMs: number): void {
  const site = Buffer.from(data.serverId).toString('latin1');
  const write = (line: string): void => void writeSync(1, `${line}\n`);
  const log = createLog({ clock: systemClock, base: { service: 'vantage', site }, level: 'error', write });
  try {
    log.error('main thread hangs', { silentMs: Math.round(silentMs) });
  } finally {
    process.kill(process.pid, 'SIGKILL');
  }
}

function serve(): void {
  const tally = createTally(data.counts);
  const door = createDoor({
    zone: () => state.zone,
    secrets: () => state.secrets,
    rateLimit: data.rateLimit === undefined ? undefined : createRateLimit(data.rateLimit),
    transfers: createTransfers({ keys: data.transferKeys, zone: () => state.transfer }),
    serverId: data.serverId,
    firstTurn: data.firstTurn,
  });
  const batch = createBatch(data.fd);
  const watch = createWatch(data.beat, systemClock.monotonicMs());
  let seen = 0;
  for (;;) {
    const beganMs = systemClock.monotonicMs();
    turn(data.turns);
    const silentMs = watch.look(beganMs);
    if (silentMs > data.silenceMsMax) endProcess(silentMs);
    const count = batch.receive();
    const newest = Atomics.load(data.news, 0);
    if (newest !== seen) {
      seen = newest;
      if (!takeNews()) return;
    }
    if (count > 0) answerAll(batch, count, door, tally);
    else if (systemClock.monotonicMs() - beganMs < 1) Atomics.wait(data.news, 0, seen, TROUBLE_PAUSE_MS);
  }
}

serve();
data.port.close();
