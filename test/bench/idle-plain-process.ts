/**
 * Idle recipients without TLS, as two processes: a server that welcomes recipients with the relay's own code on a plain HTTP
 * server, or accepts WebSockets and does nothing more, which is the floor of the other; and the clients of either. Others
 * publish their memory for an idle WebSocket over plain TCP; production has no such door.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { encodeHello } from '../../client/frames.ts';
import { createAckGate } from '../../relay/ack-gate.ts';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { createDeliveryLoops } from '../../relay/core/delivery-loops.ts';
import { SUBPROTOCOL } from '../../relay/core/frame.ts';
import { createRelayEvents } from '../../relay/events.ts';
import { createFailures } from '../../relay/failures.ts';
import { createMailboxTokenVerifier } from '../../relay/http/mailbox-token.ts';
import { createRecipients } from '../../relay/recipients.ts';
import { systemClock } from '../../system/clock.ts';
import { createLog, writeToStdout } from '../../system/log.ts';
import { createMetrics } from '../../system/metrics.ts';
import { systemRandom } from '../../system/random.ts';
import { TEST_PEPPER } from '../support/mailbox.ts';
import { createBenchMailbox } from './bench-recipient.ts';
import { answerMemory } from './idle-memory.ts';

export type PlainIdleConfig =
  | { readonly role: 'server'; readonly serves: 'recipients' | 'websockets' }
  | {
      readonly role: 'client';
      readonly port: number;
      readonly connections: number;
      readonly speaks: 'recipients' | 'websockets';
    };

const HOST = '127.0.0.1';
const AT_ONCE = 64;
const BEAT_EVERY_MS = 4000;
const AUDIENCE = 'https://plain.test';

answerMemory();
const config = JSON.parse(process.argv[2] ?? '') as PlainIdleConfig;
if (config.role === 'server') serve(config.serves);
else await connectAll(config);

function serve(what: 'recipients' | 'websockets'): void {
  const server = createServer();
  server.on('upgrade', what === 'recipients' ? welcomeRecipients() : acceptWebSockets());
  server.listen(0, HOST, 10_000, () => process.send?.((server.address() as AddressInfo).port));
}

type Upgrade = ReturnType<typeof createRecipients>['upgrade'];

function acceptWebSockets(): Upgrade {
  const sockets = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false });
  return (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (accepted) => {
      accepted.on('message', (data) => accepted.send(data));
    });
}

function welcomeRecipients(): Upgrade {
  const clock = systemClock;
  const store = createMemoryStore();
  const log = createLog({ clock, base: {}, level: 'warn', write: writeToStdout });
  const events = createRelayEvents(createMetrics('relay_'), log);
  const recipients = createRecipients({
    session: {
      site: 'plain',
      audience: AUDIENCE,
      heartbeatMs: 5000,
      helloWithinMs: 60_000,
      lookAgainMs: 30_000,
      ttlMsMax: 2_592_000_000,
      pepper: TEST_PEPPER,
      mayVerifyDoubtful: () => true,
    },
    store,
    loops: createDeliveryLoops(),
    verify: createMailboxTokenVerifier(AUDIENCE, clock),
    openAckGate: createAckGate({ store, bury: async () => undefined, fullness: () => 0, clock, events }),
    buriedElsewhere: async () => [],
    mayReceive: () => true,
    clock,
    events,
    hasRoom: () => true,
    arrived: () => undefined,
    isBusy: () => false,
    failures: createFailures({ isCrowded: () => false, clock, random: systemRandom }),
  });
  void recipients.run(new AbortController().signal);
  return recipients.upgrade;
}

async function connectAll(to: Extract<PlainIdleConfig, { role: 'client' }>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (; next < to.connections; ) {
        next += 1;
        await connectOne(to);
      }
    }),
  );
  process.send?.('connected');
}

/** Resolves when the server has answered what an idle connection has asked once. */
async function connectOne({ port, speaks }: Extract<PlainIdleConfig, { role: 'client' }>): Promise<void> {
  const socket = new WebSocket(`ws://${HOST}:${port}/v1/ws`, [SUBPROTOCOL], { perMessageDeflate: false });
  await once(socket, 'open');
  const isRecipient = speaks === 'recipients';
  const settled = Promise.withResolvers<void>();
  socket.on('message', (data: Buffer) => {
    const text = data.toString('utf8');
    if (!isRecipient || text.includes('"ready"')) settled.resolve();
  });
  socket.on('close', (code) => {
    throw new Error(`an idle connection was closed with ${code}`);
  });
  socket.send(isRecipient ? encodeHello([createBenchMailbox().token(AUDIENCE)], 256) : '{"t":"beat"}');
  await settled.promise;
  setInterval(() => socket.send('{"t":"beat"}'), BEAT_EVERY_MS);
}
