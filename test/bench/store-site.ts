/**
 * What a message costs one site's store, in CPU time and in commands, at a given size of batches:
 * `node test/bench/store-site.ts [messages] [per batch] [per ack]`
 *
 * It does what a site of three does under the job of `relay.ts`: every message is inserted and owed to two others,
 * every ack names some messages of a mailbox, and what the others confirm is settled, a fifth of a second's worth at a
 * time. Other work on the machine makes it slower and changes these figures little.
 */
import { randomBytes } from 'node:crypto';
import type { SignedAck } from '../../relay/core/ack.ts';
import type { Message } from '../../relay/core/message.ts';
import { type Reference, referenceTo } from '../../relay/core/reference.ts';
import type { Settlement } from '../../relay/ports.ts';
import { systemClock } from '../../system/clock.ts';
import { writeToStdout } from '../../system/log.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { startRedis } from '../support/redis-server.ts';
import { openBenchStore } from './bench-store.ts';
import { infoOf } from './deployment.ts';
import { cpuSeconds } from './process-usage.ts';

const MESSAGES = Number(process.argv[2] ?? 20_000);
const BATCH = Number(process.argv[3] ?? 16);
const PER_ACK = Number(process.argv[4] ?? 16);
const MAILBOXES = 50;
/** Relays that write at the same time: the own senders, and the two other sites. */
const WRITERS = 3;
const SETTLED_TOGETHER = 200;
const ACKS_TOGETHER = 4;
const BODY = randomBytes(1024);
const HOUR_MS = 3_600_000;
const OTHERS = ['two', 'three'];

const nowMs = systemClock.wallMs();
const mailboxes = Array.from({ length: MAILBOXES }, createTestMailbox);
/** What one writer does: batches of messages, and the acks that come when all of a batch's have come. */
const work = Array.from({ length: WRITERS }, (_, writer) => {
  const batches: { messages: Message[]; acks: SignedAck[] }[] = [];
  const unacked = new Map<number, Message[]>();
  for (let n = 0; n < MESSAGES / WRITERS; n += 1) {
    if (n % BATCH === 0) batches.push({ messages: [], acks: [] });
    const which = Math.floor(Math.random() * MAILBOXES);
    const mailbox = mailboxes[which] ?? createTestMailbox();
    const fields = { acceptedMs: nowMs + n, expiresMs: nowMs + HOUR_MS, body: BODY };
    const message = mailbox.message(`${writer} ${n}`, fields);
    const batch = batches.at(-1);
    batch?.messages.push(message);
    const waiting = [...(unacked.get(which) ?? []), message];
    if (waiting.length < PER_ACK) unacked.set(which, waiting);
    else {
      const ids = waiting.map(({ id }) => id);
      batch?.acks.push(mailbox.ack(ids, nowMs + HOUR_MS));
      unacked.set(which, []);
    }
  }
  return batches;
});

const server = await startRedis();
const pid = Number(await infoOf(server, 'process_id'));
const store = await openBenchStore(server);

const measure = async (): Promise<readonly number[]> => [
  cpuSeconds(pid),
  process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
  Number(await infoOf(server, 'total_commands_processed')),
  Number(await infoOf(server, 'total_net_input_bytes')),
  Number(await infoOf(server, 'aof_current_size')),
];
const before = await measure();
const startedMs = systemClock.monotonicMs();
let settlements: Settlement[] = [];
const settling: Promise<void>[] = [];
let waiting = 0;
const confirm = (sites: readonly string[], references: readonly Reference[]): void => {
  settlements.push({ sites, references });
  waiting += references.length;
  if (waiting < SETTLED_TOGETHER) return;
  settling.push(store.settle(settlements));
  settlements = [];
  waiting = 0;
};
await Promise.all(
  work.map(async (batches, writer) => {
    // Acks come from the site that their recipient is connected to, which then owes them to nobody.
    const owedTo = writer === 0 ? OTHERS : OTHERS.slice(writer - 1, writer);
    let acks: SignedAck[] = [];
    for (const batch of batches) {
      const insertions = batch.messages.map((message) => ({ message, owedTo: OTHERS }));
      acks.push(...batch.acks);
      const burying = acks.length >= ACKS_TOGETHER ? acks.splice(0) : [];
      await Promise.all([
        store.insert(insertions, systemClock.wallMs()),
        store.bury(
          burying.map((ack) => ({ ack, owedTo })),
          systemClock.wallMs(),
        ),
      ]);
      confirm(OTHERS, batch.messages.map(referenceTo));
      confirm(
        owedTo,
        burying.map(({ mailbox, id }) => ({ kind: 'ack', mailbox, id })),
      );
    }
  }),
);
await Promise.all([...settling, store.settle(settlements)]);
const tookMs = systemClock.monotonicMs() - startedMs;
const after = await measure();
const [redis = 0, own = 0, commands = 0, bytesIn = 0, bytesWritten = 0] = after.map(
  (value, place) => (value - (before[place] ?? 0)) / MESSAGES,
);
writeToStdout(
  [
    `${MESSAGES} messages, ${BATCH} in a batch, ${PER_ACK} in an ack: ${Math.round((MESSAGES * 1000) / tookMs)}/s`,
    `redis ${(redis * 1e6).toFixed(1)} us/message`,
    `relay ${(own * 1e6).toFixed(1)} us/message`,
    `${commands.toFixed(1)} commands/message`,
    `${Math.round(bytesIn)} bytes sent and ${Math.round(bytesWritten)} written for each`,
  ].join('; '),
);
await store.close();
await server.stop();
