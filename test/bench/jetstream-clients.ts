/**
 * Senders and consumers of JetStream: a sender publishes and waits for the PubAck, a consumer is a durable push consumer
 * of one subject that acks each message explicitly (docs.nats.io, "JetStream wire API Reference").
 */
import type { BrokerClients, BrokerConsumer, BrokerSender } from './broker-load.ts';
import { connectNats, encodePublish, type NatsConnection, type NatsMessage } from './nats-connection.ts';

export const STREAM = 'JOB';
/** As many as a relay sends to a recipient of the benchmark before it waits for acks. */
const WINDOW = 256;
const REQUEST_WITHIN_MS = 5000;
const ACK_WAIT_NS = 30_000_000_000;

export function subjectOf(mailbox: number): string {
  return `mailbox.${mailbox}`;
}

export function consumerOf(mailbox: number): string {
  return `c${mailbox}`;
}

/** A request that must be answered without an error; it says which one otherwise. */
export async function ask(
  connection: NatsConnection,
  subject: string,
  body: unknown,
): Promise<Record<string, unknown>> {
  const answer = await connection.request(subject, body, REQUEST_WITHIN_MS);
  if (answer === undefined) throw new Error(`${subject}: no answer`);
  if (answer['error'] !== undefined) throw new Error(`${subject}: ${JSON.stringify(answer['error'])}`);
  return answer;
}

export const JETSTREAM_CLIENTS: BrokerClients = {
  openSender: async (address, mailboxes, bodies) => {
    const connection = await connectNats(address);
    const inbox = `_INBOX.sender.${Math.random().toString(36).slice(2)}`;
    return createSender(connection, inbox, bodies.slice(0, mailboxes));
  },
  openConsumer: async (address, mailbox, onBody) => {
    const connection = await connectNats(address);
    const deliver = `deliver.${mailbox}`;
    const consumer = createConsumer(connection, deliver, onBody);
    await ask(connection, `$JS.API.CONSUMER.DURABLE.CREATE.${STREAM}.${consumerOf(mailbox)}`, {
      stream_name: STREAM,
      config: {
        durable_name: consumerOf(mailbox),
        deliver_subject: deliver,
        deliver_policy: 'all',
        ack_policy: 'explicit',
        ack_wait: ACK_WAIT_NS,
        filter_subject: subjectOf(mailbox),
        max_ack_pending: WINDOW,
        replay_policy: 'instant',
      },
    });
    return consumer;
  },
};

function createSender(connection: NatsConnection, inbox: string, bodies: readonly Buffer[]): BrokerSender {
  const requests = bodies.map((body, mailbox) => encodePublish(subjectOf(mailbox), inbox, body));
  let waiting: (() => void) | undefined;
  connection.subscribe(inbox, ([message]) => {
    if (message?.payload.includes('"error"') === true) {
      throw new Error(`a message was refused: ${message.payload.toString('utf8')}`);
    }
    const accepted = waiting;
    waiting = undefined;
    accepted?.();
  });
  return {
    publish: (mailbox, number, onAccepted) => {
      const request = requests[mailbox];
      const body = bodies[mailbox];
      if (request === undefined || body === undefined) throw new RangeError(`no mailbox ${mailbox}`);
      request.writeUInt32BE(number, request.length - 2 - body.length);
      waiting = onAccepted;
      connection.write(request);
    },
    close: connection.close,
  };
}

function createConsumer(
  connection: NatsConnection,
  deliver: string,
  onBody: (body: Buffer) => void,
): BrokerConsumer {
  let acked = 0;
  connection.subscribe(deliver, (messages: readonly NatsMessage[]) => {
    let acks = '';
    for (const { payload, reply } of messages) {
      onBody(payload);
      acks += `PUB ${reply} 0\r\n\r\n`;
    }
    acked += messages.length;
    connection.write(acks);
  });
  return { acked: () => acked, close: connection.close };
}
