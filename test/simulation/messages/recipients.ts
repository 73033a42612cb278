/**
 * Recipients: each keeps a socket or two at sites of its choice, goes elsewhere when one falls silent, and sometimes
 * for no reason; it acks what it has, often at once and sometimes late or on another connection. What its application has
 * got already is kept from it by the memory of the client library, until the client is started anew: then it has forgotten
 * that, and which acks it wanted to send. Some come only at the end: what waits for them has to be everywhere without them.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import {
  BEAT,
  encodeAck,
  encodeHello,
  parseControlFrame,
  parseMessageFrame,
} from '../../../client/frames.ts';
import type { Seen, SeenEntry } from '../../../client/seen.ts';
import type { RecipientSocket } from '../../../relay/adapters/recipient-connection.ts';
import { type MailboxId, mailboxIdOf } from '../../../relay/core/mailbox.ts';
import type { Random } from '../../../system/random.ts';
import type { Arrival, Checker } from './checker.ts';
import type { Network } from './network.ts';
import type { LiveRelay, SimulatedSite } from './site.ts';
import { between, pick, type Stage } from './stage.ts';

export interface RecipientOptions {
  readonly name: string;
  readonly sites: readonly SimulatedSite[];
  readonly network: Network;
  readonly checker: Checker;
  readonly sockets: number;
  readonly createMemory: () => ClientMemory;
}

/** What a client remembers of what its application has. */
export type ClientMemory = Pick<Seen<SeenEntry>, 'get' | 'set'>;

export interface Recipient {
  readonly name: string;
  readonly mailbox: MailboxId;
  /** From now on it stays where it is, and acks at once. */
  steady(): void;
}

/** One end of a connection, as the recipient holds it. */
interface Wire {
  send(data: string | Uint8Array): void;
  close(): void;
}

const SILENCE_MS = 7000;
/** After everything is mended: the outboxes have been looked at by then. */
const LATE_MS = 18_000;
const WINDOW = 16;
/** As the client library has it. */
const EXPIRY_SLACK_MS = 120_000;
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SIGNED_PREFIX = Buffer.from('archipelago ack v1\n', 'latin1');

/** Starts a recipient with a mailbox of its own. */
export function createRecipient(stage: Stage, options: RecipientOptions): Recipient {
  const { name, checker } = options;
  const { time, trace } = stage;
  const random = stage.random(name);
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, random.bytes(32)]),
    format: 'der',
    type: 'pkcs8',
  });
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  const habits = habitsOf(random);
  const open = new Set<Wire>();
  const ends = new Set<() => void>();
  let memory = options.createMemory();
  let isSteady = false;

  let gathered: string[] = [];
  /** Acks what comes within a moment with one signature. */
  const ackLater = (wire: Wire, id: string): void => {
    gathered.push(id);
    if (gathered.length > 1) return;
    const isLate = !isSteady && random.fraction() < habits.lateChance;
    time.after(isLate ? between(random, 1000, 8000) : between(random, 5, 300), () => {
      const ids = [...new Set(gathered)];
      gathered = [];
      if (ids.length === 0) return;
      // What came on a connection that is gone is acked on another, or when it comes again.
      const through = open.has(wire) ? wire : [...open][0];
      if (through === undefined) return;
      const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
      const signature = sign(null, Buffer.concat([SIGNED_PREFIX, idBytes]), privateKey);
      through.send(encodeAck(0, signature, idBytes));
      checker.acked(ids);
    });
  };
  const onMessage = (wire: Wire, frame: Uint8Array): void => {
    const parsed = parseMessageFrame(frame);
    if (!parsed.ok) return checker.violate(`${name} got a frame that is ${parsed.fault}`);
    const { id, body, secondsLeft } = parsed.value;
    checker.arrived(name, id, body);
    if (memory.get(id) === undefined) checker.received(name, id);
    else stage.count('hidden by the client');
    const nowMs = time.clockOf().wallMs();
    memory.set(id, { isForgettable: true, expiresMs: nowMs + secondsLeft * 1000 + EXPIRY_SLACK_MS }, nowMs);
    if (isSteady || random.fraction() > habits.forgetChance) ackLater(wire, id);
  };

  /** One connection from dialling to its end. */
  const session = async (site: SimulatedSite): Promise<void> => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    ends.add(end);
    let heardMs = time.nowMs();
    const wire = dial(stage, options, site, {
      onText: (text) => {
        heardMs = time.nowMs();
        const frame = parseControlFrame(text);
        if (!frame.ok) return checker.violate(`${name} got a text that is ${frame.fault}`);
        if (frame.value.t === 'beat') wire.send(BEAT);
        if (frame.value.t === 'ready') open.add(wire);
        if (frame.value.t === 'welcome') {
          wire.send(encodeHello([`${publicKey.toString('base64url')} ${frame.value.audience}`], WINDOW));
        }
      },
      onBinary: (bytes) => {
        heardMs = time.nowMs();
        onMessage(wire, bytes);
      },
      onClose: end,
    });
    const leaveMs = time.nowMs() + between(random, 500, habits.stayMs);
    const watch = (): void => {
      const isSilent = time.nowMs() - heardMs > SILENCE_MS;
      if (isSilent || (!isSteady && time.nowMs() > leaveMs)) end();
      else time.after(500, watch);
    };
    time.after(500, watch);
    await ended;
    ends.delete(end);
    open.delete(wire);
    wire.close();
  };
  const { promise: here, resolve: come } = Promise.withResolvers<void>();
  if (habits.isLate) stage.count('recipients away until the end');
  else come();
  const keepConnected = async (): Promise<void> => {
    await here;
    for (;;) {
      const isAway = !isSteady && random.fraction() < habits.awayChance;
      await time.sleep(isAway ? between(random, 1000, 12_000) : between(random, 20, 500));
      const site = pick(random, options.sites);
      trace.note(name, `connects to ${site.name}`);
      await session(site);
    }
  };
  const restartNowAndThen = async (everyMs: number): Promise<void> => {
    for (;;) {
      await time.sleep(between(random, 0.5 * everyMs, 1.5 * everyMs));
      if (isSteady) return;
      stage.count('clients restarted');
      trace.note(name, 'is started anew and has forgotten everything');
      memory = options.createMemory();
      gathered = [];
      checker.forgot(name);
      for (const end of ends) end();
    }
  };
  for (let socket = 0; socket < options.sockets; socket += 1) void keepConnected();
  if (habits.restartEveryMs !== undefined) void restartNowAndThen(habits.restartEveryMs);
  return {
    name,
    mailbox: mailboxIdOf(publicKey),
    steady: () => {
      isSteady = true;
      time.after(LATE_MS, come);
    },
  };
}

interface Habits {
  /** Of an ack to come seconds later. */
  readonly lateChance: number;
  /** Of a message not to be acked this time. */
  readonly forgetChance: number;
  /** Of being away between two connections. */
  readonly awayChance: number;
  readonly stayMs: number;
  /** Away until everything is mended and has had its time. */
  readonly isLate: boolean;
  /** Mean time between two restarts of the client; undefined: it runs on. */
  readonly restartEveryMs: number | undefined;
}

function habitsOf(random: Random): Habits {
  return {
    lateChance: random.fraction() * 0.5,
    forgetChance: random.fraction() * 0.3,
    awayChance: random.fraction(),
    stayMs: between(random, 1000, 15_000),
    isLate: random.fraction() < 0.2,
    restartEveryMs: random.fraction() < 0.5 ? undefined : between(random, 1500, 10_000),
  };
}

interface Ears {
  onText(text: string): void;
  onBinary(bytes: Uint8Array): void;
  onClose(): void;
}

/** A WebSocket to a relay of the site; silent while the way is cut, and for ever when the machine loses its power. */
function dial(stage: Stage, options: RecipientOptions, site: SimulatedSite, ears: Ears): Wire {
  const { time } = stage;
  const { network, checker } = options;
  const relaySide = createRelayEnd();
  let isClosed = false;
  /** Undefined once the relay has said that nothing more waits. */
  let arrival: Arrival | undefined;
  const up = createLane(stage, network, ['recipients', site.name]);
  const down = createLane(stage, network, [site.name, 'recipients']);
  const hangUp = (): void =>
    down(() => {
      if (!isClosed) ears.onClose();
    });
  const socket: RecipientSocket = {
    bufferedAmount: 0,
    on: relaySide.on,
    send: (data, _, onSent) => {
      if (typeof data !== 'string') {
        const frame = parseMessageFrame(data);
        if (frame.ok) checker.delivering(site.name, frame.value.id, arrival);
      } else if (parseControlFrame(data).ok && data.includes('"empty"')) arrival = undefined;
      down(() => {
        if (isClosed) return;
        if (typeof data === 'string') ears.onText(data);
        else ears.onBinary(data);
      });
      time.after(0.1, onSent);
    },
    // The limits are for floods, and there is none here.
    pause: () => checker.violate(`${site.name} stopped reading a recipient that sends what a client sends`),
    resume: () => undefined,
    close: () => {
      hangUp();
      time.after(1, relaySide.close);
    },
    terminate: () => {
      hangUp();
      relaySide.close();
    },
  };
  up(() => {
    const target = site.isOn() ? site.balance() : undefined;
    if (target === undefined) return site.isOn() ? hangUp() : undefined;
    relaySide.isAlive = target.process.isAlive;
    target.process.onDeath(() => {
      if (site.isOn()) hangUp();
    });
    arrival = arriveAt(stage, target, options.sites);
    target.relay.recipients.welcome(socket);
  });
  return {
    send: (data) => up(() => relaySide.receive(data)),
    close: () => {
      isClosed = true;
      up(relaySide.close);
    },
  };
}

/** A link whose other end has died may seem alive for so long, milliseconds. */
const DEAD_LINK_MS = 4000;

/** A recipient comes to this relay now. */
function arriveAt({ time }: Stage, { relay }: LiveRelay, sites: readonly SimulatedSite[]): Arrival {
  const atMs = time.nowMs();
  const up = (): readonly string[] => relay.links.filter((link) => link.isUp()).map(({ site }) => site);
  const upThen = up();
  return {
    atMs,
    linkedTo: () =>
      up().filter((name) => {
        const other = sites.find((site) => site.name === name);
        return upThen.includes(name) && other !== undefined && other.diedMs() < atMs - DEAD_LINK_MS;
      }),
  };
}

/** How long TCP waits before it tries again, about, milliseconds. */
const AGAIN_MS = 200;

/** One direction of a connection: in order, and what cannot arrive now arrives when the way is open again. */
function createLane(
  { time }: Stage,
  network: Network,
  [from, to]: readonly [string, string],
): (arrive: () => void) => void {
  const waiting: { readonly atMs: number; readonly arrive: () => void }[] = [];
  let isPumping = false;
  const pumpAgain = (): void => {
    isPumping = false;
    pump();
  };
  const pump = (): void => {
    if (isPumping) return;
    isPumping = true;
    for (let [next] = waiting; next !== undefined; [next] = waiting) {
      const leftMs = network.isOpen(from, to) ? next.atMs - time.nowMs() : AGAIN_MS;
      if (leftMs > 0) return void time.after(leftMs, pumpAgain);
      waiting.shift();
      next.arrive();
    }
    isPumping = false;
  };
  return (arrive) => {
    waiting.push({ atMs: time.nowMs() + network.latencyMs(), arrive });
    pump();
  };
}

/** The listeners of a relay on one socket. */
interface RelayEnd {
  readonly on: RecipientSocket['on'];
  isAlive: () => boolean;
  receive(data: string | Uint8Array): void;
  readonly close: () => void;
}

function createRelayEnd(): RelayEnd {
  const listeners = new Map<string, (...given: unknown[]) => void>();
  let isClosed = false;
  const end: RelayEnd = {
    on: (event: string, listener: unknown): undefined => {
      listeners.set(event, listener as (...given: unknown[]) => void);
    },
    isAlive: () => true,
    receive: (data) => {
      if (isClosed || !end.isAlive()) return;
      listeners.get('message')?.(Buffer.from(data as Uint8Array), typeof data !== 'string');
    },
    close: () => {
      if (!isClosed && end.isAlive()) listeners.get('close')?.();
      isClosed = true;
    },
  };
  return end;
}
