/**
 * Senders and consumers of an MQTT 3.1.1 broker, by hand for the load generator's sake: a sender publishes with QoS 1 and
 * waits for the PUBACK (§4.3.2), a consumer has a session that is kept, and acks each message with a PUBACK.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { BrokerClients } from './broker-load.ts';
import type { BrokerAddress } from './nats-connection.ts';

/** Packet types with their flags (§2.2). */
const CONNECT = 0x10;
const CONNACK = 0x20;
const PUBLISH = 0x30;
const PUBLISH_QOS_1 = 0x32;
const PUBACK = 0x40;
const SUBSCRIBE = 0x82;
const SUBACK = 0x90;
const DISCONNECT = Buffer.from([0xe0, 0]);
const CLEAN_SESSION = 0x02;

interface MqttConnection {
  readonly write: (packets: Uint8Array) => void;
  readonly close: () => void;
}

interface MqttEvents {
  /** Bodies and packet ids of all messages that one read brought. */
  readonly onMessages?: (messages: readonly { readonly body: Buffer; readonly packetId: number }[]) => void;
  readonly onPubAck?: () => void;
}

export const MOSQUITTO_CLIENTS: BrokerClients = {
  openSender: async (address, mailboxes, bodies) => {
    let waiting: (() => void) | undefined;
    const onPubAck = (): void => {
      const accepted = waiting;
      waiting = undefined;
      accepted?.();
    };
    const connection = await connectMqtt(address, '', undefined, { onPubAck });
    const packets = bodies.slice(0, mailboxes).map((body, mailbox) => {
      const rest = Buffer.concat([text(topicOf(mailbox)), Buffer.from([0, 1]), body]);
      return { packet: packetOf(PUBLISH_QOS_1, rest), bodyBytes: body.length };
    });
    return {
      publish: (mailbox, number, onAccepted) => {
        const made = packets[mailbox];
        if (made === undefined) throw new RangeError(`no mailbox ${mailbox}`);
        made.packet.writeUInt32BE(number, made.packet.length - made.bodyBytes);
        waiting = onAccepted;
        connection.write(made.packet);
      },
      close: connection.close,
    };
  },
  openConsumer: async (address, mailbox, onBody) => {
    let acked = 0;
    const connection: MqttConnection = await connectMqtt(address, `c${mailbox}`, topicOf(mailbox), {
      onMessages: (messages) => {
        const acks = Buffer.alloc(4 * messages.length);
        for (const [place, { body, packetId }] of messages.entries()) {
          onBody(body);
          acks.writeUInt16BE((PUBACK << 8) | 2, 4 * place);
          acks.writeUInt16BE(packetId, 4 * place + 2);
        }
        acked += messages.length;
        connection.write(acks);
      },
    });
    return { acked: () => acked, close: connection.close };
  },
};

function topicOf(mailbox: number): string {
  return `mailbox/${mailbox}`;
}

/** Resolves when the broker has taken the session, and the subscription to `topic` where there is one. */
async function connectMqtt(
  address: BrokerAddress,
  clientId: string,
  topic: string | undefined,
  events: MqttEvents,
): Promise<MqttConnection> {
  const socket = await openSocket(address);
  const ready = Promise.withResolvers<void>();
  let isOpen = false;
  socket.on('error', (error) => ready.reject(error));
  socket.on('close', () => {
    if (isOpen) throw new Error('a connection to the broker was lost');
    ready.reject(new Error('the broker closed the connection'));
  });
  const done = topic === undefined ? CONNACK : SUBACK;
  readPackets(socket, events, (type) => {
    if (type === done) ready.resolve();
  });
  const flags = clientId === '' ? CLEAN_SESSION : 0;
  const head = Buffer.from([4, flags, 0, 0]);
  socket.write(packetOf(CONNECT, Buffer.concat([text('MQTT'), head, text(clientId)])));
  if (topic !== undefined) {
    const subscription = Buffer.concat([Buffer.from([0, 1]), text(topic), Buffer.from([1])]);
    socket.write(packetOf(SUBSCRIBE, subscription));
  }
  await ready.promise;
  isOpen = true;
  return {
    write: (packets) => void socket.write(packets),
    close: () => {
      isOpen = false;
      socket.end(DISCONNECT);
    },
  };
}

async function openSocket({ host, port, tls }: BrokerAddress): Promise<Socket> {
  if (tls === undefined) {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    return socket;
  }
  const secured = connectTls({ host, port, servername: tls.serverName, ca: tls.authorityPem });
  await once(secured, 'secureConnect');
  secured.setNoDelay(true);
  return secured;
}

/** A string with its length (§1.5.3). */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packetOf(type: number, rest: Uint8Array): Buffer {
  const length: number[] = [];
  for (let left = rest.length; length.length === 0 || left > 0; left >>= 7) {
    length.push(left > 0x7f ? (left & 0x7f) | 0x80 : left);
  }
  return Buffer.concat([Buffer.from([type, ...length]), rest]);
}

function readPackets(socket: Socket, events: MqttEvents, onOther: (type: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const messages: { readonly body: Buffer; readonly packetId: number }[] = [];
    let at = 0;
    while (bytes.length - at >= 2) {
      const { length, headBytes } = remainingLength(bytes, at + 1);
      const start = at + 1 + headBytes;
      if (start + length > bytes.length) break;
      const type = (bytes[at] ?? 0) & 0xf0;
      if (type === PUBLISH) {
        const topicEnd = start + 2 + bytes.readUInt16BE(start);
        const packetId = bytes.readUInt16BE(topicEnd);
        messages.push({ body: bytes.subarray(topicEnd + 2, start + length), packetId });
      } else if (type === PUBACK) events.onPubAck?.();
      else onOther(type);
      at = start + length;
    }
    rest = bytes.subarray(at);
    if (messages.length > 0) events.onMessages?.(messages);
  });
}

/** §2.2.3. */
function remainingLength(
  bytes: Buffer,
  from: number,
): { readonly length: number; readonly headBytes: number } {
  let length = 0;
  let headBytes = 0;
  for (let byte = 0x80; (byte & 0x80) !== 0 && headBytes < 4; headBytes += 1) {
    byte = bytes[from + headBytes] ?? 0;
    length |= (byte & 0x7f) << (7 * headBytes);
  }
  return { length, headBytes };
}
