/**
 * Senders: they post through the public app of whichever site, and send the same bytes again elsewhere, under the same
 * idempotency key, until somebody says 201 or they give up. Some ask twice although they were told.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { sealPush } from '../../../relay/core/capability.ts';
import type { KeyRing } from '../../../relay/core/key-ring.ts';
import type { MailboxId } from '../../../relay/core/mailbox.ts';
import { messageIdOf } from '../../../relay/core/message.ts';
import { ciphertext } from '../../support/ciphertext.ts';
import type { Checker } from './checker.ts';
import type { Network } from './network.ts';
import type { SimulatedSite } from './site.ts';
import { between, pick, type Stage } from './stage.ts';

export interface SendersOptions {
  readonly sites: readonly SimulatedSite[];
  readonly network: Network;
  readonly checker: Checker;
  readonly ring: KeyRing;
  readonly recipients: readonly { readonly name: string; readonly mailbox: MailboxId }[];
  /** Mean time between two messages, milliseconds. */
  readonly everyMs: number;
}

export interface Senders {
  /** Sends nothing new any more; what has begun goes on. */
  stop(): void;
  /** Messages that are still being tried. */
  readonly underWay: () => number;
}

interface Parcel {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

const ATTEMPTS_MAX = 6;
const GIVE_UP_MS = 5000;
/** A relay has asked its store twice and waited for peers by then, each with a deadline of its own. */
const ANSWER_WITHIN_MS = 4500;
const TTL_SECONDS = [45, 120, 3600, 604_800] as const;

/** Begins to send. */
export function createSenders(stage: Stage, options: SendersOptions): Senders {
  const { time, trace } = stage;
  const { checker, sites, ring } = options;
  const random = stage.random('senders');
  const capabilities = options.recipients.map(({ name, mailbox }) => {
    const id = random.bytes(16);
    const sealed = sealPush({ id, mailbox, expiresSeconds: 0, vapidKeyHash: undefined }, ring);
    return { id, recipient: name, path: `/p/${sealed}` };
  });
  let count = 0;
  let underWay = 0;
  const stopping = new AbortController();

  const prepare = (): Parcel => {
    count += 1;
    const name = `m${count}`;
    const { id: capabilityId, recipient, path } = pick(random, capabilities);
    const body = ciphertext(`${name} ${random.fraction()}`, 48);
    const idempotencyKey = random.fraction() < 0.5 ? name : undefined;
    const id = messageIdOf({ capabilityId, idempotencyKey, coding: 'aes128gcm', body });
    const ttl = String(pick(random, TTL_SECONDS));
    checker.sent(id, name, recipient, body);
    return {
      id,
      name,
      path,
      body,
      headers: {
        host: 'relay.example.com',
        ttl,
        'content-encoding': 'aes128gcm',
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      },
    };
  };
  const send = async (): Promise<void> => {
    const parcel = prepare();
    underWay += 1;
    let again = random.fraction() < 0.1 ? 1 : 0;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const site = pick(random, sites);
      const answer = await post(stage, options, site, parcel);
      trace.note('sender', `${parcel.name} at ${site.name}: ${answer}`);
      if (answer === 201) {
        if (again === 0) break;
        again -= 1;
        await time.sleep(between(random, 0, 15_000));
      } else {
        stage.count('refused or unanswered');
        await time.sleep(between(random, 100, 1500));
      }
    }
    underWay -= 1;
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await time.sleep(-Math.log(1 - random.fraction()) * options.everyMs);
      if (!stopping.signal.aborted) void send();
    }
  };
  void run();
  return {
    stop: () => stopping.abort(),
    underWay: () => underWay,
  };
}

type Answer = number | 'lost' | 'refused' | 'reset' | 'gave up';

/** One request on its way to a relay of the site and back. */
async function post(
  { time }: Stage,
  { network, checker }: SendersOptions,
  site: SimulatedSite,
  parcel: Parcel,
): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const cancelGivingUp = time.after(GIVE_UP_MS, () => resolve('gave up'));
  const back = (answer: Answer): void => {
    if (network.isOpen(site.name, 'senders')) time.after(network.latencyMs(), () => resolve(answer));
  };
  time.after(network.latencyMs(), () => {
    if (!network.isOpen('senders', site.name) || !site.isOn()) return;
    const target = site.balance();
    if (target === undefined) return back('refused');
    const { process, relay } = target;
    const sinceMs = time.nowMs();
    process.onDeath(() => {
      if (site.isOn()) back('reset');
    });
    const cancelWatch = time.after(ANSWER_WITHIN_MS, () => {
      if (process.isAlive())
        checker.violate(`${process.name} let ${parcel.name} wait ${ANSWER_WITHIN_MS} ms`);
    });
    relay.app.listener(
      requestOf(parcel),
      responseTo((status) => {
        cancelWatch();
        if (!process.isAlive()) return;
        if (status === 201) checker.accepted(parcel.id, process.name, sinceMs);
        back(status);
      }),
    );
  });
  const answer = await promise;
  cancelGivingUp();
  return answer;
}

/** What a relay reads of Node's own request. */
function requestOf({ path, body, headers }: Parcel): IncomingMessage {
  const request = Object.assign(Readable.from([body]), {
    method: 'POST',
    url: path,
    complete: true,
    headers,
    headersDistinct: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
    socket: { remoteAddress: '192.0.2.200' },
  });
  return request as unknown as IncomingMessage;
}

/** What a relay writes to of Node's own response; nobody reads more than the status. */
function responseTo(answer: (status: number) => void): ServerResponse {
  let status = 0;
  const response = {
    headersSent: false,
    on: () => response,
    writeHead: (given: number) => {
      status = given;
      response.headersSent = true;
      return response;
    },
    end: () => answer(status),
    destroy: () => response,
  };
  return response as unknown as ServerResponse;
}
