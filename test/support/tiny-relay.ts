/**
 * A test partner for the client: a fleet of tiny relays in this process that speak docs/protocol.md over real HTTPS
 * and WebSocket sockets, and that can be told to fail in the ways that matter to failover.
 *
 * It shares no code with the relay, on purpose: tokens are verified with jose and acks with node:crypto, so it is a
 * second reading of the protocol. Its sites share one store, and a push URL is the mailbox id in clear.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedJWK, jwtVerify } from 'jose';
import { type WebSocket, WebSocketServer } from 'ws';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemRandom } from '../../system/random.ts';

/** `hang`: requests are read and never answered. `reset`: connections are cut. `silent`: sockets freeze. */
export type Fault = 'none' | 'hang' | 'reset' | { readonly status: number; readonly code: string };

interface Stored {
  readonly mailbox: string;
  readonly id: Buffer;
  readonly coding: string;
  readonly body: Buffer;
  readonly acceptedSeconds: number;
  readonly ttlSeconds: number;
}

interface Recipient {
  readonly socket: WebSocket;
  readonly window: number;
  readonly mailboxes: readonly { readonly id: string; readonly key: Buffer }[];
  /** Ids on their way, and those once sent. */
  readonly unacked: Set<string>;
  readonly sent: Set<string>;
}

export interface TinyFleetOptions {
  readonly sites: readonly string[];
  readonly heartbeatMs?: number;
}

export class TinyFleet {
  readonly relays: TinyRelay[] = [];
  readonly messages: Map<string, Stored> = new Map();
  readonly acked: Set<string> = new Set();
  readonly ca: string;
  readonly lookups: string[] = [];
  port = 0;
  /** Sites that the canonical name leads to. */
  answer: readonly string[];

  private constructor(ca: string, answer: readonly string[]) {
    this.ca = ca;
    this.answer = answer;
  }

  static async start(options: TinyFleetOptions): Promise<TinyFleet> {
    const context = { wallMs: Date.now(), random: systemRandom };
    const authority = await makeAuthority(context);
    const names = ['relay.test', ...options.sites.map((site) => `${site}.relay.test`)];
    const { certificatePem, keyPem } = await issueServerCertificate(context, authority, names);
    const fleet = new TinyFleet(authority.certificatePem, options.sites);
    // One port at several loopback addresses, as A records have no port. Somebody may hold it at one of them.
    for (let tries = 0; fleet.relays.length < options.sites.length; tries += 1) {
      const name = options.sites[fleet.relays.length] ?? '';
      const address = `127.${64 + (process.pid % 100)}.${process.pid % 251}.${fleet.relays.length + 1}`;
      const server = createServer({ cert: certificatePem, key: keyPem });
      try {
        await listen(server, fleet.port, address);
      } catch (error) {
        if (tries > 20) throw error;
        await fleet.close();
        fleet.relays.length = 0;
        fleet.port = 0;
        continue;
      }
      fleet.port = (server.address() as AddressInfo).port;
      fleet.relays.push(new TinyRelay(fleet, name, address, server, options.heartbeatMs ?? 5000));
    }
    return fleet;
  }

  get canonicalOrigin(): string {
    return `https://relay.test:${this.port}`;
  }

  get sites(): readonly { readonly origin: string; readonly provider: string }[] {
    return this.relays.map(({ name, origin }) => ({ origin, provider: name }));
  }

  relay(name: string): TinyRelay {
    const relay = this.relays.find((candidate) => candidate.name === name);
    if (relay === undefined) throw new Error(`no such site: ${name}`);
    return relay;
  }

  /** A resolver for the client. */
  lookup = async (hostname: string): Promise<readonly string[]> => {
    this.lookups.push(hostname);
    const names = hostname === 'relay.test' ? this.answer : [hostname.replace(/\.relay\.test$/, '')];
    return names.flatMap((name) =>
      this.relays.filter((relay) => relay.name === name).map(({ address }) => address),
    );
  };

  pushUrl(mailboxId: string): string {
    return `${this.canonicalOrigin}/p/${mailboxId}`;
  }

  put(message: Stored): void {
    const key = message.id.toString('hex');
    if (this.acked.has(key) || this.messages.has(key)) return;
    this.messages.set(key, message);
    for (const relay of this.relays) relay.deliver();
  }

  async close(): Promise<void> {
    await Promise.all(this.relays.map((relay) => relay.stop()));
  }
}

export class TinyRelay {
  readonly name: string;
  readonly address: string;
  readonly origin: string;
  readonly requests: { readonly atMs: number; readonly path: string; readonly body: Buffer }[] = [];
  /** Ack frames seen, with how many ids each named. */
  readonly ackSizes: number[] = [];
  beatsAnswered = 0;
  connections = 0;
  fault: Fault = 'none';
  /** Takes part in nothing that was accepted elsewhere, as if cut off from the other sites. */
  isBehind = false;
  /** Sends rubbish instead of bodies. */
  isDamaging = false;
  /** How far its clock is ahead, milliseconds. */
  skewMs = 0;
  readonly #fleet: TinyFleet;
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  readonly #recipients: Set<Recipient> = new Set();
  readonly #heartbeatMs: number;
  readonly #webSockets: WebSocketServer = new WebSocketServer({ noServer: true });

  constructor(fleet: TinyFleet, name: string, address: string, server: Server, heartbeatMs: number) {
    this.#fleet = fleet;
    this.name = name;
    this.address = address;
    this.#server = server;
    this.#heartbeatMs = heartbeatMs;
    this.origin = `https://${name}.relay.test:${fleet.port}`;
    server.on('secureConnection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
    });
    server.on('request', (request, response) => void this.#answer(request, response));
    server.on('upgrade', (request, socket, head) => {
      if (this.fault === 'reset') socket.destroy();
      if (this.fault !== 'none') return;
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#welcome(webSocket));
    });
  }

  get recipients(): number {
    return this.#recipients.size;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Freezes the sockets that are open: nothing is read, sent or closed any more, as behind a black hole. */
  freeze(): void {
    for (const { socket } of this.#recipients) socket.pause();
    this.#recipients.clear();
  }

  closeAll(code: number): void {
    for (const { socket } of this.#recipients) socket.close(code);
  }

  /** Tells every recipient to leave within `withinMs` for `alternates`; never closes by itself. */
  drain(withinMs: number, alternates: readonly string[]): void {
    for (const { socket } of this.#recipients)
      socket.send(JSON.stringify({ t: 'drain', withinMs, alternates }));
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  deliver(): void {
    if (this.isBehind) return;
    for (const recipient of this.#recipients) this.#deliverTo(recipient);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    const path = request.url ?? '';
    this.requests.push({ atMs: performance.now(), path, body });
    const problem = (status: number, code: string): void => {
      const headers = {
        'content-type': 'application/problem+json',
        ...(status === 503 ? { 'retry-after': '1' } : {}),
      };
      response.writeHead(status, headers).end(JSON.stringify({ type: 'about:blank', code }));
    };
    if (this.fault === 'hang') return;
    if (this.fault === 'reset') return this.cut();
    if (path === '/v1/info') return this.#info(response);
    if (this.fault !== 'none') return problem(this.fault.status, this.fault.code);
    if (path === '/v1/push-urls') {
      const { token } = JSON.parse(body.toString()) as { token: string };
      const mailbox = await this.#open(token);
      if (mailbox === undefined) return problem(401, 'mailbox_token_invalid');
      const push = this.#fleet.pushUrl(mailbox.id);
      response.writeHead(201, { location: push }).end(JSON.stringify({ push }));
      return;
    }
    const mailbox = /^\/p\/([A-Za-z0-9_-]{43})$/.exec(path)?.[1];
    const ttl = request.headers['ttl'];
    if (mailbox === undefined) return problem(404, 'capability_unknown');
    if (typeof ttl !== 'string') return problem(400, 'ttl_missing');
    const coding = request.headers['content-encoding'] ?? request.headers['content-type'] ?? '';
    const key = request.headers['idempotency-key'] ?? body;
    const id = createHash('sha256')
      .update(mailbox)
      .update(typeof key === 'string' ? key : body)
      .digest()
      .subarray(0, 16);
    const acceptedSeconds = Math.floor(Date.now() / 1000);
    this.#fleet.put({ mailbox, id, coding, body, acceptedSeconds, ttlSeconds: Number(ttl) });
    response.writeHead(201, { location: `${this.origin}/m/x`, ttl }).end();
  }

  #info(response: ServerResponse): void {
    const sites = this.#fleet.relays.map(({ name, origin }) => ({ name, origin }));
    const info = {
      protocol: 'relay.v1',
      site: this.name,
      audience: this.origin,
      sites,
      bodyBytesMax: 65_536,
      timeMs: Date.now() + this.skewMs,
    };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(info));
  }

  /** Verifies a mailbox token for this site; gives the mailbox. */
  async #open(token: string): Promise<{ id: string; key: Buffer } | undefined> {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, EmbeddedJWK, {
        algorithms: ['EdDSA'],
        audience: this.origin,
        requiredClaims: ['iat', 'exp'],
        currentDate: new Date(Date.now() + this.skewMs),
      });
      if ((payload.exp ?? 0) * 1000 > Date.now() + this.skewMs + 300_000) return undefined;
      const key = Buffer.from(protectedHeader.jwk?.x ?? '', 'base64url');
      return { id: createHash('sha256').update(key).digest('base64url'), key };
    } catch {
      return undefined;
    }
  }

  #welcome(socket: WebSocket): void {
    socket.on('error', () => undefined);
    let recipient: Recipient | undefined;
    const beat = setInterval(() => {
      if (recipient !== undefined && this.#recipients.has(recipient))
        socket.send(JSON.stringify({ t: 'beat' }));
    }, this.#heartbeatMs);
    socket.on('close', () => {
      clearInterval(beat);
      if (recipient !== undefined) this.#recipients.delete(recipient);
    });
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) {
        if (recipient === undefined || !this.#ack(recipient, data)) socket.close(4401);
        return;
      }
      const frame = JSON.parse(data.toString()) as { t: string; tokens: string[]; window: number };
      if (frame.t === 'beat') this.beatsAnswered += 1;
      if (frame.t !== 'hello') return;
      void this.#greet(socket, frame).then((greeted) => {
        recipient = greeted;
        return undefined;
      });
    });
    const heartbeatMs = this.#heartbeatMs;
    socket.send(JSON.stringify({ t: 'welcome', site: this.name, audience: this.origin, heartbeatMs }));
  }

  async #greet(
    socket: WebSocket,
    hello: { readonly tokens: readonly string[]; readonly window: number },
  ): Promise<Recipient | undefined> {
    const opened = await Promise.all(hello.tokens.map((token) => this.#open(token)));
    const mailboxes = opened.filter((mailbox) => mailbox !== undefined);
    if (mailboxes.length !== opened.length) {
      socket.close(4401);
      return undefined;
    }
    const recipient = {
      socket,
      window: hello.window,
      mailboxes,
      unacked: new Set(),
      sent: new Set(),
    } as Recipient;
    this.#recipients.add(recipient);
    socket.send(JSON.stringify({ t: 'ready' }));
    this.#deliverTo(recipient);
    for (const mailbox of mailboxes.keys()) socket.send(JSON.stringify({ t: 'empty', mailbox }));
    return recipient;
  }

  #deliverTo(recipient: Recipient): void {
    for (const [key, message] of this.#fleet.messages) {
      const mailbox = recipient.mailboxes.findIndex(({ id }) => id === message.mailbox);
      if (mailbox === -1 || recipient.sent.has(key)) continue;
      if (recipient.unacked.size >= recipient.window) return;
      recipient.sent.add(key);
      recipient.unacked.add(key);
      const head = Buffer.alloc(28);
      head.writeUInt8(1, 0);
      head.writeUInt16BE(mailbox, 1);
      message.id.copy(head, 3);
      head.writeUInt32BE(message.acceptedSeconds, 19);
      head.writeUInt32BE(message.ttlSeconds, 23);
      head.writeUInt8(message.coding.length, 27);
      const body = this.isDamaging ? Buffer.alloc(message.body.length, 0xaa) : message.body;
      recipient.socket.send(Buffer.concat([head, Buffer.from(message.coding), body]));
    }
  }

  #ack(recipient: Recipient, frame: Buffer): boolean {
    const mailbox = recipient.mailboxes[frame.readUInt16BE(1)];
    const count = frame.readUInt16BE(3);
    const ids = frame.subarray(69);
    if (frame[0] !== 2 || mailbox === undefined || ids.length !== count * 16) return false;
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: mailbox.key.toString('base64url') };
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    const signed = Buffer.concat([Buffer.from('archipelago ack v1\n'), ids]);
    if (!verify(null, signed, key, frame.subarray(5, 69))) return false;
    this.ackSizes.push(count);
    for (let at = 0; at < ids.length; at += 16) {
      const id = ids.subarray(at, at + 16).toString('hex');
      this.#fleet.acked.add(id);
      this.#fleet.messages.delete(id);
      recipient.unacked.delete(id);
    }
    this.deliver();
    return true;
  }
}

/** Waits until `condition` holds. Throws after ten seconds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 2000) throw new Error(`never came true: ${condition.toString()}`);
    await sleep(5);
  }
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, host, resolve);
  await promise;
}
