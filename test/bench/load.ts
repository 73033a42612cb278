/**
 * The job that is measured, seen from outside: senders in a closed loop, recipients that are connected, everything
 * over TLS. Every message carries its number, so what was accepted and never delivered is known by name.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../system/clock.ts';
import {
  type BenchRecipient,
  connectRecipient,
  createBenchMailbox,
  type RecipientOptions,
} from './bench-recipient.ts';
import { type Percentiles, percentilesOf } from './percentiles.ts';
import { cpuSecondsOf, machineBusySeconds } from './process-usage.ts';
import { encodePost, type HttpReply, openPushConnection, type Target } from './push-connection.ts';
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

export interface LoadConfig extends Course {
  readonly targets: readonly Target[];
  readonly senders: number;
  readonly mailboxes: number;
  readonly bodyBytes: number;
  /** How long a recipient gathers messages before it acks them together. */
  readonly gathering: RecipientOptions['gathering'];
  readonly relayPids: readonly number[];
  readonly redisPids: readonly number[];
}

export interface LoadResult {
  /** Of the time that was measured, messages a second. */
  readonly accepted: number;
  readonly delivered: number;
  readonly acked: number;
  readonly acceptMs: Percentiles;
  /** From the sender's first byte to the recipient, milliseconds. */
  readonly deliverMs: Percentiles;
  /** Processors that were busy, on average. */
  readonly cpus: {
    readonly load: number;
    readonly relays: number;
    readonly redis: number;
    readonly machine: number;
  };
  /** Of the whole run. */
  readonly acceptedTotal: number;
  readonly repeats: number;
  readonly refusals: Readonly<Record<string, number>>;
  /** Accepted, and not delivered within ten seconds after the last one was accepted. */
  readonly undelivered: number;
}

const PUSH_HEADERS = 'TTL: 3600\r\nUrgency: normal\r\nContent-Encoding: aes128gcm\r\n';

/** What became of the messages, and how often which refusal came. */
interface LoadTally extends Tally {
  readonly refusals: Record<string, number>;
}

export async function runLoad(config: LoadConfig): Promise<LoadResult> {
  const tally: LoadTally = { ...createTally(), refusals: {} };
  const { recipients, paths } = await connectRecipients(config, tally);
  const senders = Array.from({ length: config.senders }, (_, place) => send(config, place, paths, tally));
  const { before, after } = await runCourse(tally, config, senders, () =>
    snapshot(config, tally, recipients),
  );
  await Promise.all(recipients.map((recipient) => recipient.close()));

  const seconds = (after.atMs - before.atMs) / 1000;
  const rate = (of: (one: Snapshot) => number): number => (of(after) - of(before)) / seconds;
  return {
    accepted: rate((one) => one.accepted),
    delivered: rate((one) => one.delivered),
    acked: rate((one) => one.acked),
    acceptMs: percentilesOf(tally.acceptMs),
    deliverMs: percentilesOf(tally.deliverMs),
    cpus: {
      load: rate((one) => one.loadCpu),
      relays: rate((one) => one.relayCpu),
      redis: rate((one) => one.redisCpu),
      machine: rate((one) => one.machineCpu),
    },
    acceptedTotal: tally.accepted,
    repeats: tally.repeats,
    refusals: tally.refusals,
    undelivered: countUndelivered(tally),
  };
}

interface Snapshot {
  readonly atMs: number;
  readonly accepted: number;
  readonly delivered: number;
  readonly acked: number;
  readonly loadCpu: number;
  readonly relayCpu: number;
  readonly redisCpu: number;
  readonly machineCpu: number;
}

function snapshot(config: LoadConfig, tally: Tally, recipients: readonly BenchRecipient[]): Snapshot {
  const { user, system } = process.cpuUsage();
  return {
    atMs: systemClock.monotonicMs(),
    accepted: tally.accepted,
    delivered: tally.delivered,
    acked: recipients.reduce((sum, { acked }) => sum + acked(), 0),
    loadCpu: (user + system) / 1e6,
    relayCpu: cpuSecondsOf(config.relayPids),
    redisCpu: cpuSecondsOf(config.redisPids),
    machineCpu: machineBusySeconds(),
  };
}

/** Connects the recipients, spread over the targets, and gives the path of a push URL for each. */
async function connectRecipients(
  config: LoadConfig,
  tally: Tally,
): Promise<{ readonly recipients: readonly BenchRecipient[]; readonly paths: readonly string[] }> {
  const recipients: BenchRecipient[] = [];
  const paths: string[] = [];
  const onBody = (body: Buffer): void => noteDelivered(tally, body.readUInt32BE(0));
  for (let place = 0; place < config.mailboxes; place += 1) {
    const target = targetOf(config, place);
    const mailbox = createBenchMailbox();
    recipients.push(
      await connectRecipient(target, mailbox, {
        gathering: config.gathering,
        onBody,
        onLost: (reason) => {
          throw new Error(`a recipient was disconnected: ${reason}`);
        },
      }),
    );
    const minted = await mint(target, mailbox.token(`https://${target.serverName}:${target.port}`));
    const path = /\/p\/[A-Za-z0-9_-]+/.exec(minted.body)?.[0];
    if (minted.status !== 201 || path === undefined)
      throw new Error(`no push URL: ${minted.status} ${minted.body}`);
    paths.push(path);
  }
  return { recipients, paths };
}

function targetOf({ targets }: LoadConfig, place: number): Target {
  const target = targets[place % targets.length];
  if (target === undefined) throw new RangeError('no target');
  return target;
}

async function mint(target: Target, token: string): Promise<HttpReply> {
  const connection = await openPushConnection(target);
  const { promise, resolve } = Promise.withResolvers<HttpReply>();
  const body = Buffer.from(JSON.stringify({ token }));
  connection.send(encodePost(target, '/v1/push-urls', 'Content-Type: application/json\r\n', body), resolve);
  const reply = await promise;
  connection.close();
  return reply;
}

/** Sends one message after the other to every mailbox in turn, and resolves once the tally is stopped. */
async function send(
  config: LoadConfig,
  place: number,
  paths: readonly string[],
  tally: LoadTally,
): Promise<void> {
  const target = targetOf(config, place);
  const connection = await openPushConnection(target);
  // Made in advance; only its number is written into a request when it goes out.
  const requests = paths.map((path) => encodePost(target, path, PUSH_HEADERS, createBody(config.bodyBytes)));
  const done = Promise.withResolvers<void>();
  let number = 0;
  const next = (): void => {
    const request = requests[tally.messages % requests.length];
    const given = nextNumber(tally);
    if (given === undefined || request === undefined) {
      connection.close();
      done.resolve();
      return;
    }
    number = given;
    request.writeUInt32BE(number, request.length - config.bodyBytes);
    connection.send(request, answered);
  };
  const answered = (reply: HttpReply): void => {
    const isAccepted = noteAnswered(tally, number, reply);
    // A closed loop that is refused would otherwise be a flood.
    if (isAccepted) next();
    else systemClock.after(5, next);
  };
  next();
  await done.promise;
}

/** True when the message was accepted. */
function noteAnswered(tally: LoadTally, number: number, { status, body }: HttpReply): boolean {
  if (status !== 201) {
    const name = `${status} ${/"code":"(\w+)"/.exec(body)?.[1] ?? ''}`;
    tally.refusals[name] = (tally.refusals[name] ?? 0) + 1;
    return false;
  }
  noteAccepted(tally, number);
  return true;
}

/**
 * A body with the structure of RFC 8291: salt 16, record size 4, key length 1, key 65, ciphertext. The first four
 * bytes of the salt are the number of the message.
 */
function createBody(bytes: number): Buffer {
  const body = randomBytes(bytes);
  body.writeUInt32BE(4096, 16);
  body.writeUInt8(65, 20);
  body.writeUInt8(4, 21);
  return body;
}
