/**
 * The job of the relay's benchmark put to a message broker: senders in a closed loop, each with one message in flight, and
 * connected consumers that ack what they receive. Every message carries its number, as it does in the relay's job.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../system/clock.ts';
import type { BrokerAddress } from './nats-connection.ts';
import { type Percentiles, percentilesOf } from './percentiles.ts';
import { cpuSecondsOf, machineBusySeconds } from './process-usage.ts';
import {
  type Course,
  countUndelivered,
  createTally,
  nextNumber,
  noteAccepted,
  noteDelivered,
  runCourse,
  type Tally,
} from './tally.ts';

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

export interface BrokerLoadConfig extends Course {
  readonly broker: 'jetstream' | 'mosquitto';
  readonly addresses: readonly BrokerAddress[];
  readonly senders: number;
  readonly mailboxes: number;
  readonly bodyBytes: number;
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

/** Resolves when everything that was accepted is delivered, or ten seconds after the last was accepted. */
export async function runBrokerLoad(
  config: BrokerLoadConfig,
  clients: BrokerClients,
): Promise<BrokerLoadResult> {
  const tally = createTally();
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
  const { before, after } = await runCourse(tally, config, senders, () => snapshot(config, tally, consumers));
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

async function sendUntilStopped(
  sender: BrokerSender,
  { mailboxes }: BrokerLoadConfig,
  tally: Tally,
): Promise<void> {
  const done = Promise.withResolvers<void>();
  let number = 0;
  const next = (): void => {
    const given = nextNumber(tally);
    if (given === undefined) {
      done.resolve();
      return;
    }
    number = given;
    sender.publish(number % mailboxes, number, accepted);
  };
  const accepted = (): void => {
    noteAccepted(tally, number);
    next();
  };
  next();
  await done.promise;
}
