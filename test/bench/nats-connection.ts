/**
 * A connection to a nats-server, by hand (docs.nats.io, "Client Protocol"): a library would cost the load generator as much
 * as it costs the server. It believes the server, so it checks nothing that only a broken one would send.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
  /** Over TLS, with this name and authority; in plain when it is left out. */
  readonly tls?: { readonly serverName: string; readonly authorityPem: string } | undefined;
}

export interface NatsMessage {
  readonly payload: Buffer;
  /** The subject to answer to, '' for none. */
  readonly reply: string;
}

export interface NatsConnection {
  /** Sends bytes that are whole commands. */
  readonly write: (commands: Uint8Array | string) => void;
  /** Gives what comes for `subject` to `onMessages`: all that one read brought, together. */
  subscribe(subject: string, onMessages: (messages: readonly NatsMessage[]) => void): void;
  /** One request and its answer, undefined when none came in time. */
  request(subject: string, body: unknown, withinMs: number): Promise<Record<string, unknown> | undefined>;
  readonly close: () => void;
}

const CR = 13;
const FIELDS_WITHOUT_REPLY = 4;
let connectionsMade = 0;

/** Connects and resolves once the server has answered a PING. Throws when the connection is lost later. */
export async function connectNats(address: BrokerAddress): Promise<NatsConnection> {
  const socket = await openSocket(address);
  const listeners: ((messages: readonly NatsMessage[]) => void)[] = [];
  const ready = Promise.withResolvers<void>();
  let isOpen = false;
  socket.on('error', (error) => ready.reject(error));
  socket.on('close', () => {
    if (isOpen) throw new Error('a connection to nats-server was lost');
    ready.reject(new Error('nats-server closed the connection'));
  });
  readCommands(socket, {
    onMessages: (subscription, messages) => listeners[subscription]?.(messages),
    onPong: ready.resolve,
  });
  const options = { verbose: false, pedantic: false, headers: false, lang: 'bench', version: '0' };
  socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
  await ready.promise;
  isOpen = true;
  const subscribe: NatsConnection['subscribe'] = (subject, onMessages) => {
    socket.write(`SUB ${subject} ${listeners.length}\r\n`);
    listeners.push(onMessages);
  };
  connectionsMade += 1;
  const inbox = `_INBOX.${process.pid}.${connectionsMade}`;
  let requests = 0;
  return {
    write: (commands) => void socket.write(commands),
    subscribe,
    request: async (subject, body, withinMs) => {
      requests += 1;
      const answered = Promise.withResolvers<Record<string, unknown> | undefined>();
      const timer = setTimeout(() => answered.resolve(undefined), withinMs);
      subscribe(`${inbox}.${requests}`, ([message]) => {
        const text = message?.payload.toString('utf8') ?? '';
        answered.resolve(JSON.parse(text) as Record<string, unknown>);
      });
      socket.write(encodePublish(subject, `${inbox}.${requests}`, Buffer.from(JSON.stringify(body))));
      const answer = await answered.promise;
      clearTimeout(timer);
      return answer;
    },
    close: () => {
      isOpen = false;
      socket.end();
    },
  };
}

/** A message to `subject` whose answer goes to `reply`. */
export function encodePublish(subject: string, reply: string, payload: Uint8Array): Buffer {
  const head = `PUB ${subject} ${reply} ${payload.length}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), payload, Buffer.from('\r\n', 'latin1')]);
}

/** A server speaks first, in plain, and is then asked for TLS. */
async function openSocket({ host, port, tls }: BrokerAddress): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true });
  await once(socket, 'data');
  if (tls === undefined) return socket;
  const secured = connectTls({ socket, servername: tls.serverName, ca: tls.authorityPem });
  await once(secured, 'secureConnect');
  return secured;
}

interface CommandEvents {
  readonly onMessages: (subscription: number, messages: readonly NatsMessage[]) => void;
  readonly onPong: () => void;
}

function readCommands(socket: Socket, events: CommandEvents): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const messages = new Map<number, NatsMessage[]>();
    let at = 0;
    for (let lineEnd = bytes.indexOf(CR); lineEnd >= 0; lineEnd = bytes.indexOf(CR, at)) {
      const line = bytes.toString('latin1', at, lineEnd);
      let next = lineEnd + 2;
      if (line.startsWith('MSG ')) {
        const fields = line.split(' ');
        const length = Number(fields.at(-1));
        const start = next;
        next += length + 2;
        if (next > bytes.length) break;
        const payload = bytes.subarray(start, start + length);
        const reply = fields.length > FIELDS_WITHOUT_REPLY ? (fields[3] ?? '') : '';
        const subscription = Number(fields[2]);
        const some = messages.get(subscription);
        if (some === undefined) messages.set(subscription, [{ payload, reply }]);
        else some.push({ payload, reply });
      } else if (line === 'PING') socket.write('PONG\r\n');
      else if (line === 'PONG') events.onPong();
      else if (line.startsWith('-ERR')) throw new Error(`nats-server: ${line}`);
      if (next > bytes.length) break;
      at = next;
    }
    rest = bytes.subarray(at);
    for (const [subscription, some] of messages) events.onMessages(subscription, some);
  });
}
