/**
 * The job of the relay's benchmark put to other people's brokers on the same machine in the same run, so that the relay is
 * compared with them and not with figures of another machine.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '../../system/clock.ts';
import type { BrokerLoadConfig, BrokerLoadResult } from './broker-load.ts';
import { consumerOf, STREAM } from './jetstream-clients.ts';
import { canSyncAlways, type JetStreamOptions, natsVersion, startJetStream } from './jetstream-servers.ts';
import { mosquittoVersion, startMosquitto } from './mosquitto-server.ts';
import { type BrokerAddress, connectNats } from './nats-connection.ts';
import { BODY_BYTES, MAILBOXES, SENDERS } from './stages.ts';

export interface BrokerResult extends BrokerLoadResult {
  readonly broker: string;
  readonly version: string;
  readonly copies: number;
  readonly fsync: string;
  readonly transport: 'tls' | 'plain';
}

export interface BrokerOptions {
  readonly warmUp: BrokerLoadConfig['warmUp'];
  readonly measureMs: number;
}

/** Those that `--peer` may name. */
export const BROKERS = ['jetstream', 'mosquitto'] as const;

interface Measured {
  readonly results: readonly BrokerResult[];
  /** What could not be measured, as sentences. */
  readonly missing: readonly string[];
}

const ACKED_WITHIN_MS = 10_000;

const JETSTREAM_VARIANTS: readonly JetStreamOptions[] = [
  { copies: 1, syncAlways: false, overTls: true },
  { copies: 3, syncAlways: false, overTls: true },
  { copies: 3, syncAlways: true, overTls: true },
  { copies: 1, syncAlways: false, overTls: false },
  { copies: 3, syncAlways: false, overTls: false },
];

/** The job at each of `names` that is installed. */
export async function measureBrokers(names: readonly string[], options: BrokerOptions): Promise<Measured> {
  const measured: Measured[] = [];
  if (names.includes('jetstream')) measured.push(await measureJetStream(options));
  if (names.includes('mosquitto')) measured.push(await measureMosquitto(options));
  return {
    results: measured.flatMap(({ results }) => results),
    missing: measured.flatMap(({ missing }) => missing),
  };
}

/** In each variant that the installed version has. */
async function measureJetStream(options: BrokerOptions): Promise<Measured> {
  const version = natsVersion();
  if (version === undefined) {
    const how = 'install nats-server, or name one in NATS_SERVER';
    return { results: [], missing: [`JetStream was not measured: no nats-server on the PATH (${how})`] };
  }
  const results: BrokerResult[] = [];
  const missing: string[] = [];
  for (const variant of JETSTREAM_VARIANTS) {
    if (variant.syncAlways && !canSyncAlways(version)) {
      missing.push(`JetStream ${version} cannot fsync every write (sync_interval is of 2.10)`);
      continue;
    }
    results.push({
      broker: 'JetStream',
      version,
      copies: variant.copies,
      fsync: variant.syncAlways ? 'every write' : 'every 2 min',
      transport: variant.overTls ? 'tls' : 'plain',
      ...(await measureVariant(variant, options)),
    });
  }
  return { results, missing };
}

/** QoS 1, one copy; it writes what it holds to the disk every half hour, and when it is stopped. */
async function measureMosquitto(options: BrokerOptions): Promise<Measured> {
  const version = mosquittoVersion();
  if (version === undefined) {
    return { results: [], missing: ['Mosquitto was not measured: no mosquitto on the PATH (install it)'] };
  }
  const results: BrokerResult[] = [];
  for (const overTls of [true, false]) {
    await using server = await startMosquitto(overTls);
    const described = { broker: 'Mosquitto', version, copies: 1, fsync: 'every 30 min' } as const;
    const measured = await load({ ...jobOf(options), broker: 'mosquitto', ...server });
    results.push({ ...described, transport: overTls ? 'tls' : 'plain', ...measured });
  }
  return { results, missing: [] };
}

function jobOf(options: BrokerOptions): Omit<BrokerLoadConfig, 'broker' | 'addresses' | 'serverPids'> {
  return { ...options, senders: SENDERS, mailboxes: MAILBOXES, bodyBytes: BODY_BYTES };
}

async function measureVariant(variant: JetStreamOptions, options: BrokerOptions): Promise<BrokerLoadResult> {
  await using servers = await startJetStream(variant);
  const result = await load({
    ...jobOf(options),
    broker: 'jetstream',
    addresses: servers.addresses,
    serverPids: servers.serverPids,
  });
  const [first] = servers.addresses;
  if (first !== undefined) await untilAllAcked(first);
  return result;
}

async function load(config: BrokerLoadConfig): Promise<BrokerLoadResult> {
  const child = fork(join(import.meta.dirname, 'broker-load-process.ts'), [JSON.stringify(config)]);
  const [first]: unknown[] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (typeof first !== 'object' || first === null) throw new Error('the load generator failed');
  const result = first as BrokerLoadResult;
  if (result.undelivered > 0) throw new Error(`${result.undelivered} accepted messages were not delivered`);
  return result;
}

/** Throws when the servers still wait for an ack: what the load generator counts as acked is then not true. */
async function untilAllAcked(address: BrokerAddress): Promise<void> {
  const connection = await connectNats(address);
  const untilMs = systemClock.monotonicMs() + ACKED_WITHIN_MS;
  for (let mailbox = 0; mailbox < MAILBOXES; ) {
    const subject = `$JS.API.CONSUMER.INFO.${STREAM}.${consumerOf(mailbox)}`;
    const info = await connection.request(subject, {}, 5000);
    const waiting = Number(info?.['num_ack_pending']) + Number(info?.['num_pending']);
    if (waiting === 0) mailbox += 1;
    else if (systemClock.monotonicMs() > untilMs) {
      throw new Error(`JetStream still waits for ${waiting} acks of ${consumerOf(mailbox)}`);
    } else await systemClock.sleep(100);
  }
  connection.close();
}
