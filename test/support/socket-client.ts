/**
 * A recipient as the tests of a served relay need it: a real WebSocket, what came over it, and acks that it signs.
 */
import { sign } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { SUBPROTOCOL } from '../../relay/core/frame.ts';
import type { Message } from '../../relay/core/message.ts';
import { eventually } from './eventually.ts';
import type { ServedRelay } from './served-relay.ts';

export interface Client {
  readonly socket: WebSocket;
  readonly texts: { readonly t: string }[];
  /** Ids of the messages that came, in order. */
  readonly ids: string[];
  readonly closed: Promise<number>;
}

/** Resolves when it is open; the relay's certificate is not checked. */
export async function connect(to: ServedRelay): Promise<Client> {
  const socket = new WebSocket(`wss://127.0.0.1:${to.port}/v1/ws`, [SUBPROTOCOL], {
    rejectUnauthorized: false,
  });
  const texts: { readonly t: string }[] = [];
  const ids: string[] = [];
  const closed = Promise.withResolvers<number>();
  socket.on('error', () => undefined).on('close', (code) => closed.resolve(code));
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) ids.push(data.toString('base64url', 3, 19));
    else texts.push(JSON.parse(data.toString('utf8')) as { t: string });
  });
  await once(socket, 'open');
  return { socket, texts, ids, closed: closed.promise };
}

/** Resolves when the relay has said `ready`. */
export async function hello(client: Client, to: ServedRelay, window: number): Promise<void> {
  client.socket.send(JSON.stringify({ t: 'hello', tokens: [await to.recipient.token()], window }));
  await eventually('ready', () => (client.texts.some(({ t }) => t === 'ready') ? true : undefined));
}

/** What waits for the recipient from now on; it is owed to nobody. */
export async function store(to: ServedRelay, messages: readonly Message[]): Promise<void> {
  await to.store.insert(
    messages.map((message) => ({ message, owedTo: [] })),
    Date.now(),
  );
}

/** Acks these messages of the relay's recipient. */
export function ack(client: Client, to: ServedRelay, ids: readonly string[]): void {
  const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
  const head = Buffer.of(2, 0, 0, ids.length >> 8, ids.length & 255);
  const signed = Buffer.concat([Buffer.from('archipelago ack v1\n'), idBytes]);
  client.socket.send(Buffer.concat([head, sign(null, signed, to.recipient.privateKey), idBytes]));
}
