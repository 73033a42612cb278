/**
 * How fast the Redis store is, against the least that the same Redis could do: plain SETs of the same size, on the
 * same Redis, in the same run. `node test/bench/store.ts [messages] [workers]`
 *
 * One message is one insertion that owes two copies, both settled, one look into its mailbox and one ack: what a
 * site does for a message that it accepts itself. Each worker waits for every step before it takes the next.
 */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Reference } from '../../relay/core/reference.ts';
import { systemClock } from '../../system/clock.ts';
import { writeToStdout } from '../../system/log.ts';
import { createTestMailbox } from '../support/mailbox.ts';
import { startRedis } from '../support/redis-server.ts';
import { openBenchStore } from './bench-store.ts';

const MESSAGES = Number(process.argv[2] ?? 10_000);
const WORKERS = Number(process.argv[3] ?? 64);
const MAILBOXES = 50;
const BODY = randomBytes(1024);
const NOW_MS = 1_000_000;
const HOUR_MS = 3_600_000;

const server = await startRedis();
const plain = new Redis({ host: server.host, port: server.port, enableAutoPipelining: true });
const store = await openBenchStore(server);

const mailboxes = Array.from({ length: MAILBOXES }, createTestMailbox);
const work = Array.from({ length: MESSAGES }, (_, index) => {
  const mailbox = mailboxes[index % MAILBOXES] ?? createTestMailbox();
  const message = mailbox.message(`message ${index}`, {
    acceptedMs: NOW_MS + index,
    expiresMs: NOW_MS + HOUR_MS,
    body: BODY,
  });
  return { message, ack: mailbox.ack([message.id], NOW_MS + HOUR_MS) };
});

const setsBefore = await perSecond((index) => plain.set(`before:${index}`, BODY));
const insertions = await perSecond(async (index) => {
  const { message } = taskOf(index);
  await store.insert([{ message, owedTo: ['two', 'three'] }], NOW_MS);
});
const settlements = await perSecond(async (index) => {
  const { message } = taskOf(index);
  const reference: Reference = { kind: 'message', mailbox: message.mailbox, id: message.id };
  await store.settle([{ sites: ['two', 'three'], references: [reference] }]);
});
const burials = await perSecond(async (index) => {
  await store.bury([{ ack: taskOf(index).ack, owedTo: [] }], NOW_MS);
});
await plain.flushall();
const whole = await perSecond(async (index) => {
  const { message, ack } = taskOf(index);
  const reference: Reference = { kind: 'message', mailbox: message.mailbox, id: message.id };
  await store.insert([{ message, owedTo: ['two', 'three'] }], NOW_MS);
  await Promise.all([
    store.pending(message.mailbox, 1, NOW_MS),
    store.settle([{ sites: ['two', 'three'], references: [reference] }]),
  ]);
  await store.bury([{ ack, owedTo: [] }], NOW_MS);
});
const setsAfter = await perSecond((index) => plain.set(`after:${index}`, BODY));
const sets = (setsBefore + setsAfter) / 2;

report('plain SET before', setsBefore);
report('plain SET after', setsAfter);
report('insert, owing two copies', insertions);
report('settle two copies', settlements);
report('bury', burials);
report('a whole message', whole);

await store.close();
plain.disconnect();
await server.stop();

function taskOf(index: number): (typeof work)[number] {
  const task = work[index];
  if (task === undefined) throw new RangeError(`no message ${index}`);
  return task;
}

/** Messages a second when every worker does `act` for one message after the other. */
async function perSecond(act: (index: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const startedMs = systemClock.monotonicMs();
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      while (next < MESSAGES) {
        const index = next;
        next += 1;
        await act(index);
      }
    }),
  );
  return (MESSAGES * 1000) / (systemClock.monotonicMs() - startedMs);
}

function report(what: string, rate: number): void {
  const ratio = (rate / sets).toFixed(2);
  writeToStdout(`${what.padEnd(26)} ${Math.round(rate).toString().padStart(8)}/s  ${ratio} of plain SET`);
}
