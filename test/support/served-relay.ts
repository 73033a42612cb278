/**
 * One relay's public side in this process: the real app, the real HTTPS server and the real front door on a free
 * loopback port, over a memory store. It needs no other site, so that a test of a request is about that request.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { SignJWT } from 'jose';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { createAckGate, createDoubtfulChecks } from '../../relay/ack-gate.ts';
import { createFrontDoor, type FrontDoor } from '../../relay/adapters/front-door.ts';
import { createMemoryStore } from '../../relay/adapters/memory-store.ts';
import { createAdmission } from '../../relay/admission.ts';
import { sealPush } from '../../relay/core/capability.ts';
import { createDeliveryLoops } from '../../relay/core/delivery-loops.ts';
import type { KeyRing } from '../../relay/core/key-ring.ts';
import { type MailboxId, type MailboxTag, mailboxIdOf, mailboxTagOf } from '../../relay/core/mailbox.ts';
import { createMessage, type Message, messageIdOf } from '../../relay/core/message.ts';
import { eachOf } from '../../relay/each-link.ts';
import { createFailures, type Failures } from '../../relay/failures.ts';
import { type ClientLimits, createClientServer } from '../../relay/http/client-server.ts';
import { createLongPoll, type LongPoll } from '../../relay/http/long-poll.ts';
import { createMailboxTokenVerifier, type MailboxTokenVerifier } from '../../relay/http/mailbox-token.ts';
import { createPublicApp } from '../../relay/http/public-app.ts';
import { createRevocations } from '../../relay/http/revocations.ts';
import { createVapidVerifier } from '../../relay/http/vapid-verifier.ts';
import type { MessageStore } from '../../relay/ports.ts';
import { createQuotas } from '../../relay/quotas.ts';
import { createRecipients, type Recipients, type RecipientsDeps } from '../../relay/recipients.ts';
import { createAcceptor } from '../../relay/replication/acceptor.ts';
import type { BuriedElsewhere } from '../../relay/replication/buried-elsewhere.ts';
import { createReplication } from '../../relay/replication/replication.ts';
import { systemClock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import { systemRandom } from '../../system/random.ts';
import { TEST_PEPPER } from './mailbox.ts';
import { testManifest } from './manifests.ts';
import { createRecordedEvents, type RecordedEvents } from './recorded-events.ts';

export const AUDIENCE = 'https://aws.relay.test';
export const ORIGIN = 'https://relay.test';
export const BODY_BYTES_MAX = 5000;

export interface ServedRelayOptions {
  /** 1 by default: the own store is enough. */
  readonly copiesNeeded?: number;
  readonly requestsMax?: number;
  /** By push URL and by mailbox. */
  readonly messagesPerSecond?: number;
  /** By operator token and, of its owner, by mailbox. */
  readonly asksPerSecond?: number;
  readonly unreadTtlSecondsMax?: number;
  /** Whether the relay has too much to do. */
  readonly isBusy?: () => boolean;
  readonly operatorTokenHashes?: readonly Uint8Array[];
  readonly clientLimits?: Partial<ClientLimits>;
  readonly session?: Partial<RecipientsDeps['session']>;
  /** That are connected or wait. */
  readonly recipientsMax?: number;
  /** What the relay uses instead of its store; for a store that is slow or away. */
  readonly wrapStore?: (store: MessageStore) => MessageStore;
  /** What the relay uses instead of what counts credentials that are no good. */
  readonly wrapFailures?: (failures: Failures) => Failures;
  /** What the relay uses instead of its verifier; for one that is slow. */
  readonly wrapVerifier?: (verify: MailboxTokenVerifier) => MailboxTokenVerifier;
  /** What other sites have acked; there is no other site by itself. */
  readonly buriedElsewhere?: BuriedElsewhere;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface ServedRelay {
  readonly port: number;
  readonly ca: string;
  readonly ring: KeyRing;
  readonly events: RecordedEvents;
  readonly store: MessageStore;
  readonly recipients: Recipients;
  readonly frontDoor: FrontDoor;
  /** What reads requests that are not plain. */
  readonly http: HttpServer;
  readonly recipient: Recipient;
  readonly longPoll: LongPoll;
  /** Recipients that wait in a long-poll. */
  waiting(): number;
  draining: boolean;
  ready: boolean;
  /** One request on a connection of its own. */
  ask(method: string, path: string, options?: AskOptions): Promise<Reply>;
  /** A TLS connection for what no HTTP client would write. */
  connect(options?: ConnectionOptions): Promise<TLSSocket>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface AskOptions {
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Several parts go out as chunks, without a Content-Length. */
  readonly body?: Uint8Array | string | readonly (Uint8Array | string)[];
}

/** A recipient with a key pair, a push URL at the relay, and tokens for it. */
export interface Recipient {
  readonly privateKey: KeyObject;
  readonly publicKey: Buffer;
  readonly id: MailboxId;
  readonly tag: MailboxTag;
  readonly path: string;
  token(claims?: { readonly audience?: string; readonly seconds?: number }): Promise<string>;
}

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export function createRecipient(ring: KeyRing): Recipient {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') };
  const id = mailboxIdOf(raw);
  const capability = {
    id: systemRandom.bytes(16),
    mailbox: id,
    expiresSeconds: 0,
    vapidKeyHash: undefined,
  };
  return {
    privateKey,
    publicKey: raw,
    id,
    tag: mailboxTagOf(id, ring.pepper),
    path: `/p/${sealPush(capability, ring)}`,
    token: ({ audience = AUDIENCE, seconds = 150 } = {}) => {
      const nowSeconds = Math.floor(systemClock.wallMs() / 1000);
      return new SignJWT()
        .setProtectedHeader({ alg: 'EdDSA', jwk })
        .setAudience(audience)
        .setIssuedAt(nowSeconds)
        .setExpirationTime(nowSeconds + seconds)
        .sign(privateKey);
    },
  };
}

export function createTestRing(): KeyRing {
  const minting = { id: 'AAAAAA', key: systemRandom.bytes(32) };
  return { keys: new Map([[minting.id, minting]]), minting, pepper: TEST_PEPPER };
}

export async function serveRelay(options: ServedRelayOptions = {}): Promise<ServedRelay> {
  const certificates = { wallMs: systemClock.wallMs(), random: systemRandom };
  const authority = await makeAuthority(certificates);
  const tls = await issueServerCertificate(certificates, authority, ['relay.test', 'aws.relay.test']);
  const ring = createTestRing();
  const events = createRecordedEvents();
  const store = options.wrapStore?.(createMemoryStore()) ?? createMemoryStore();
  const manifest = testManifest(['aws']);
  const [own] = manifest.sites;
  if (own === undefined) throw new Error('no site');
  const replication = createReplication(
    {
      manifest,
      own,
      pepper: ring.pepper,
      copiesNeeded: options.copiesNeeded ?? 1,
      deadlineMs: 1000,
      outboxGraceMs: 1000,
      createAcceptor,
    },
    {
      store,
      links: [],
      eachLink: eachOf([]),
      expiryWallMs: () => systemClock.wallMs(),
      deliverNow: (message) => recipients.deliverNow(message),
      clock: systemClock,
      random: systemRandom,
      events,
      log: silent,
    },
  );
  const realVerify = createMailboxTokenVerifier(AUDIENCE, systemClock);
  const verify = options.wrapVerifier?.(realVerify) ?? realVerify;
  const loops = createDeliveryLoops();
  const admission = createAdmission({
    requestsMax: options.requestsMax ?? 100,
    capabilityPerSecond: options.messagesPerSecond ?? 1000,
    mailboxPerSecond: options.messagesPerSecond ?? 1000,
    mintsPerSecond: options.asksPerSecond ?? 1000,
    asksPerSecond: options.asksPerSecond ?? 1000,
    clock: systemClock,
    random: systemRandom,
  });
  const realFailures = createFailures({
    isCrowded: options.isBusy ?? admission.isCrowded,
    clock: systemClock,
    random: systemRandom,
  });
  const failures = options.wrapFailures?.(realFailures) ?? realFailures;
  const openAckGate = createAckGate({
    store,
    bury: replication.acceptor.bury,
    fullness: () => 0,
    clock: systemClock,
    events,
  });
  const { mayReceive } = admission;
  const hasRoom = (): boolean => recipients.count() + longPoll.waiting() < (options.recipientsMax ?? 1000);
  const gates = {
    mayReceive,
    hasRoom,
    isBusy: options.isBusy ?? admission.isBusy,
    failures,
    openAckGate,
    buriedElsewhere: options.buriedElsewhere ?? replication.buriedElsewhere,
  };
  const recipients = createRecipients({
    session: {
      site: 'aws',
      audience: AUDIENCE,
      heartbeatMs: 5000,
      helloWithinMs: 5000,
      lookAgainMs: 30_000,
      ttlMsMax: 2_592_000_000,
      pepper: ring.pepper,
      mayVerifyDoubtful: createDoubtfulChecks(),
      ...options.session,
    },
    store,
    loops,
    verify,
    clock: systemClock,
    events,
    arrived: () => undefined,
    ...gates,
  });
  const quotas = createQuotas({
    store,
    isConnected: recipients.isConnected,
    mailbox: { messages: 1000, bytes: 100_000_000 },
    unclaimed: { messages: 30, bytes: 100_000_000 },
    unclaimedTtlSecondsMax: options.unreadTtlSecondsMax ?? 2_592_000,
    clock: systemClock,
  });
  const longPoll = createLongPoll({
    store,
    verify,
    ...gates,
    loops,
    pepper: ring.pepper,
    ttlMsMax: 2_592_000_000,
    clock: systemClock,
    events,
  });
  const relay = { draining: false, ready: true };
  const app = createPublicApp({
    push: {
      ring,
      acceptor: replication.acceptor,
      topics: replication.topics,
      transients: replication.transients,
      revocations: createRevocations(store, systemClock),
      verifyVapid: createVapidVerifier({ audiences: [ORIGIN, AUDIENCE] }, systemClock),
      clock: systemClock,
      random: systemRandom,
      events,
      origin: ORIGIN,
      limits: { ttlSecondsMax: 2_592_000, ciphertextTypes: ['message/mls', 'application/pgp-encrypted'] },
      bodyBytesMax: BODY_BYTES_MAX,
      admission,
      quotas,
      isDraining: () => relay.draining,
    },
    mint: {
      ring,
      verify,
      random: systemRandom,
      origin: ORIGIN,
      operatorTokenHashes: options.operatorTokenHashes,
      admission,
    },
    longPoll,
    failures,
    facts: {
      site: 'aws',
      audience: AUDIENCE,
      sites: [{ name: 'aws', provider: 'aws', origin: AUDIENCE }],
      minting: options.operatorTokenHashes === undefined ? 'open' : 'token',
    },
    isReady: () => relay.ready,
    isCrowded: options.isBusy ?? admission.isCrowded,
    events,
  });
  const clients = createClientServer(
    { chainPem: tls.certificatePem, keyPem: tls.keyPem },
    app,
    recipients,
    events,
    options.clientLimits,
  );
  const frontDoor = createFrontDoor({
    peerServerName: 'peer.aws.relay.test',
    clients,
    peers: createServer(),
    connectionsMax: 1000,
    events,
  });
  frontDoor.server.listen(0, '127.0.0.1');
  await once(frontDoor.server, 'listening');
  const { port } = frontDoor.server.address() as AddressInfo;
  const stopping = new AbortController();
  const running = recipients.run(stopping.signal);
  const to = { host: '127.0.0.1', port, ca: authority.certificatePem, servername: 'aws.relay.test' };
  return Object.assign(relay, {
    port,
    ca: authority.certificatePem,
    ring,
    events,
    store,
    recipients,
    longPoll,
    waiting: () => longPoll.waiting(),
    frontDoor,
    http: clients.http,
    recipient: createRecipient(ring),
    ask: (method: string, path: string, asked?: AskOptions) => ask(to, method, path, asked),
    connect: async (more: ConnectionOptions = {}) => {
      const socket = connect({ ...to, ...more });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      return socket;
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort(new Error('stopped'));
      longPoll.stop();
      await recipients.drain(0, []);
      await frontDoor.close(0);
      await running;
      await store.close();
    },
  });
}

/** A message for its recipient, as the store has it. */
export function messageFor(to: ServedRelay, name: string, bytes = 10): Message {
  const acceptedMs = Date.now();
  const body = Buffer.alloc(bytes, name);
  const content = { capabilityId: Buffer.alloc(16), idempotencyKey: name, coding: 'aes128gcm', body };
  return createMessage({
    id: messageIdOf(content),
    mailbox: to.recipient.tag,
    commitment: 'AAAAAAAAAAAAAAAAAAAAAA',
    acceptedMs,
    expiresMs: acceptedMs + 600_000,
    urgency: 'normal',
    topic: '',
    coding: 'aes128gcm',
    body,
  });
}

interface Destination {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly servername: string;
}

async function ask(
  to: Destination,
  method: string,
  path: string,
  { headers = {}, body }: AskOptions = {},
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const list = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
  );
  const request = httpsRequest({ ...to, method, path, headers: list, agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
    });
    response.on('error', reject);
  });
  request.on('error', reject);
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) request.end(body);
  else {
    for (const part of body) request.write(part);
    request.end();
  }
  return promise;
}
