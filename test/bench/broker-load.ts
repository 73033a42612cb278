/**
 * The job of the relay's benchmark put to a message broker: senders in a closed loop, each with one message in flight, and
 * connected consumers that ack what they receive. Every message carries its number, as it does in the relay's job.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../system/clock.ts';
import type { BrokerAddress } from './nats-connection.ts';
import { type Percentiles, percentilesOf } from './percentiles.ts';
import { cpuSecondsOf, machineBusySeconds } from './process-usage.ts';

/** How a broker is talked to. */
export interface BrokerClients {
  /** One sender: `publish` writes a message to a mailbox, and calls back once the broker has taken it over. */
  openSender(address: BrokerAddress, mailboxes: number, bodies: readonly Buffer[]): Promise<BrokerSender>;
  /** One consumer: acks each message by itself after `onBody`. */
  openConsumer(
    address: BrokerAddress,
    mailbox: number,
    onBody: (body: Buffer) => void,
  ): Promise<BrokerConsumer>;
}

export interface BrokerSender {
  /** `number` goes into the first four bytes of the body. */
  publish(mailbox: number, number: number, onAccepted: () => void): void;
  readonly close: () => void;
}

export interface BrokerConsumer {
  readonly acked: () => number;
  readonly close: () => void;
}

export interface BrokerLoadConfig {
  readonly broker: 'jetstream' | 'mosquitto';
  readonly addresses: readonly BrokerAddress[];
  readonly senders: number;
  readonly mailboxes: number;
  readonly bodyBytes: number;
  readonly warmUp: { readonly messages: number; readonly ms: number };
  readonly measureMs: number;
  readonly serverPids: readonly number[];
}

export interface BrokerLoadResult {
  /** Of the time that was measured, messages a second. */
  readonly accepted: number;
  readonly delivered: number;
  readonly acked: number;
  readonly acceptMs: Percentiles;
  readonly deliverMs: Percentiles;
  /** Processors that were busy, on average. */
  readonly cpus: { readonly load: number; readonly servers: number; readonly machine: number };
  /** Of the whole run. */
  readonly acceptedTotal: number;
  readonly repeats: number;
  readonly undelivered: number;
}

const ACCEPTED = 1;
const DELIVERED = 2;
const MESSAGES_MAX = 4_000_000;
const DELIVERED_WITHIN_MS = 10_000;

interface Tally {
  readonly states: Uint8Array;
  readonly sentMs: Float64Array;
  messages: number;
  accepted: number;
  delivered: number;
  repeats: number;
  isMeasuring: boolean;
  isStopped: boolean;
  readonly acceptMs: number[];
  readonly deliverMs: number[];
}

/** Resolves when everything that was accepted is delivered, or ten seconds after the last was accepted. */
export async function runBrokerLoad(
  config: BrokerLoadConfig,
  clients: BrokerClients,
): Promise<BrokerLoadResult> {
  const tally: Tally = {
    states: new Uint8Array(MESSAGES_MAX),
    sentMs: new Float64Array(MESSAGES_MAX),
    messages: 0,
    accepted: 0,
    delivered: 0,
    repeats: 0,
    isMeasuring: false,
    isStopped: false,
    acceptMs: [],
    deliverMs: [],
  };
  const consumers: BrokerConsumer[] = [];
  for (let mailbox = 0; mailbox < config.mailboxes; mailbox += 1) {
    const onBody = (body: Buffer): void => noteDelivered(tally, body.readUInt32BE(0));
    consumers.push(await clients.openConsumer(addressOf(config, mailbox), mailbox, onBody));
  }
  const bodies = Array.from({ length: config.mailboxes }, () => randomBytes(config.bodyBytes));
  const senders = Array.from({ length: config.senders }, async (_, place) => {
    const sender = await clients.openSender(addressOf(config, place), config.mailboxes, bodies);
    await sendUntilStopped(sender, config, tally);
    sender.close();
  });
  await until(() => tally.accepted >= config.warmUp.messages, config.warmUp.ms);
  const before = snapshot(config, tally, consumers);
  tally.isMeasuring = true;
  await systemClock.sleep(config.measureMs);
  tally.isMeasuring = false;
  const after = snapshot(config, tally, consumers);
  tally.isStopped = true;
  await Promise.all(senders);
  await until(() => countUndelivered(tally) === 0, DELIVERED_WITHIN_MS);
  for (const consumer of consumers) consumer.close();
  return resultOf(tally, before, after);
}

function resultOf(tally: Tally, before: Snapshot, after: Snapshot): BrokerLoadResult {
  const seconds = (after.atMs - before.atMs) / 1000;
  const rate = (of: keyof Snapshot): number => (after[of] - before[of]) / seconds;
  return {
    accepted: rate('accepted'),
    delivered: rate('delivered'),
    acked: rate('acked'),
    acceptMs: percentilesOf(tally.acceptMs),
    deliverMs: percentilesOf(tally.deliverMs),
    cpus: { load: rate('loadCpu'), servers: rate('serverCpu'), machine: rate('machineCpu') },
    acceptedTotal: tally.accepted,
    repeats: tally.repeats,
    undelivered: countUndelivered(tally),
  };
}

async function until(isSo: () => boolean, withinMs: number): Promise<void> {
  const untilMs = systemClock.monotonicMs() + withinMs;
  while (!isSo() && systemClock.monotonicMs() < untilMs) await systemClock.sleep(20);
}

interface Snapshot {
  readonly atMs: number;
  readonly accepted: number;
  readonly delivered: number;
  readonly acked: number;
  readonly loadCpu: number;
  readonly serverCpu: number;
  readonly machineCpu: number;
}

function snapshot(config: BrokerLoadConfig, tally: Tally, consumers: readonly BrokerConsumer[]): Snapshot {
  const { user, system } = process.cpuUsage();
  return {
    atMs: systemClock.monotonicMs(),
    accepted: tally.accepted,
    delivered: tally.delivered,
    acked: consumers.reduce((sum, { acked }) => sum + acked(), 0),
    loadCpu: (user + system) / 1e6,
    serverCpu: cpuSecondsOf(config.serverPids),
    machineCpu: machineBusySeconds(),
  };
}

function addressOf({ addresses }: BrokerLoadConfig, place: number): BrokerAddress {
  const address = addresses[place % addresses.length];
  if (address === undefined) throw new RangeError('no address');
  return address;
}

function noteDelivered(tally: Tally, number: number): void {
  const state = tally.states[number] ?? 0;
  if ((state & DELIVERED) !== 0) {
    tally.repeats += 1;
    return;
  }
  tally.states[number] = state | DELIVERED;
  tally.delivered += 1;
  if (tally.isMeasuring) tally.deliverMs.push(systemClock.monotonicMs() - (tally.sentMs[number] ?? 0));
}

async function sendUntilStopped(
  sender: BrokerSender,
  { mailboxes }: BrokerLoadConfig,
  tally: Tally,
): Promise<void> {
  const done = Promise.withResolvers<void>();
  let number = 0;
  const next = (): void => {
    if (tally.isStopped || tally.messages >= MESSAGES_MAX) {
      done.resolve();
      return;
    }
    number = tally.messages;
    tally.messages += 1;
    tally.sentMs[number] = systemClock.monotonicMs();
    sender.publish(number % mailboxes, number, accepted);
  };
  const accepted = (): void => {
    tally.accepted += 1;
    tally.states[number] = (tally.states[number] ?? 0) | ACCEPTED;
    if (tally.isMeasuring) tally.acceptMs.push(systemClock.monotonicMs() - (tally.sentMs[number] ?? 0));
    next();
  };
  next();
  await done.promise;
}

function countUndelivered({ states, messages }: Tally): number {
  let count = 0;
  for (let number = 0; number < messages; number += 1) if (states[number] === ACCEPTED) count += 1;
  return count;
}
