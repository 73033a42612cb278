/**
 * One message canary: a message, encrypted as clients encrypt (RFC 8291), is stored through one site's public address,
 * fetched and decrypted through another's, and acked there (docs/protocol.md, "Sending" and "Receiving: long-poll").
 *
 * This is the only file of the vantage that knows what a message is, and the only one that uses `client/`. Each pair
 * has a mailbox of its own that only this process can read, kept for as long as it runs, so a canary leaves nothing
 * behind and is never mistaken for a mailbox that nobody reads.
 */
import { request } from 'node:https';
import type { SecureContext } from 'node:tls';
import { toBase64url, utf8 } from '../../client/bytes.ts';
import { encrypt } from '../../client/encryption.ts';
import type { MessageFrame } from '../../client/frames.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { parsePolled } from '../../client/polled.ts';
import { problemCode } from '../../client/problem.ts';
import { createSendRequest, parsePushUrl } from '../../client/send-request.ts';
import { type Manifest, siteOrigin } from '../../fleet/manifest/manifest.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { CanaryOutcome, CanaryPair } from '../core/canary.ts';
import { keyOf, siteNamed, type Target } from '../core/target.ts';
import { isLocalCode } from './https-probe.ts';
import { errorCode } from './listen.ts';

export interface MessageCanaryOptions {
  readonly manifest: Manifest;
  readonly trust: SecureContext;
  /** What the relays take for making push URLs; undefined where minting is open. */
  readonly operatorToken: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** Sends one message through a pair. Never rejects: everything that can happen is an outcome. */
export type MessageCanary = (pair: CanaryPair) => Promise<CanaryOutcome>;

/** Sites that cannot reach each other get a message through a third one, which waits a second first. */
const CANARY_WITHIN_MS_MAX = 8000;
/** A deadline that fires this late finds a machine that stood still. */
const STALL_MS = 250;
/** With its encryption the largest body that every push service takes, so it fills several packets. */
const PLAINTEXT_BYTES = 3500;
const BODY_BYTES_MAX = 4096;
/** Near the end a site answers at once: asked without a pause it would refuse, rightly, and a refusal is no finding. */
const ASK_AGAIN_MS = 250;
const NONCE_BYTES = 16;
const TTL_SECONDS = 60;
const RESPONSE_BYTES_MAX = 1024 * 1024;
/** A site that says so is alive and asks for patience, and a surge must not withdraw it. */
const PATIENCE_CODES = ['overloaded', 'draining', 'memory_short', 'capability_key_unknown'];

/** Ends a canary early, with what it says. */
class Ended extends Error {
  override readonly name = 'Ended';
  readonly outcome: CanaryOutcome;

  constructor(outcome: CanaryOutcome) {
    super(outcome);
    this.outcome = outcome;
  }
}

/** What a pair keeps from one canary to the next. */
interface Line {
  readonly mailbox: Mailbox;
  pushPath: string | undefined;
}

/** Canaries between the sites of one manifest. */
export function createMessageCanary(options: MessageCanaryOptions): MessageCanary {
  const { manifest, clock, random } = options;
  const lines = new Map<string, Line>();
  return async (pair) => {
    const untilMs = clock.monotonicMs() + Math.min(CANARY_WITHIN_MS_MAX, manifest.health.canaryIntervalMs);
    const slot = `${keyOf(pair.store)} ${keyOf(pair.fetch)}`;
    try {
      const line = lines.get(slot) ?? { mailbox: await createMailbox(random), pushPath: undefined };
      lines.set(slot, line);
      const nonce = random.bytes(NONCE_BYTES);
      await store(line, pair.store, nonce, { ...options, untilMs });
      await fetch(line, pair.fetch, nonce, { ...options, untilMs });
      return 'delivered';
    } catch (error) {
      return error instanceof Ended ? error.outcome : 'local_error';
    }
  };
}

interface Attempt extends MessageCanaryOptions {
  /** When the canary is over, monotonic milliseconds. */
  readonly untilMs: number;
}

async function store(line: Line, target: Target, nonce: Uint8Array, attempt: Attempt): Promise<void> {
  line.pushPath ??= await makePushUrl(line.mailbox, target, attempt);
  const plaintext = new Uint8Array(PLAINTEXT_BYTES);
  plaintext.set(nonce);
  const content = await encrypt(plaintext, line.mailbox.keys, {
    random: attempt.random,
    bodyBytesMax: BODY_BYTES_MAX,
    padding: 'buckets',
  });
  const message = createSendRequest(line.pushPath, content, { ttlSeconds: TTL_SECONDS, urgency: 'high' });
  const reply = await ask(target, message, 'not_stored', attempt);
  if (reply.status === 404 || reply.status === 410) line.pushPath = undefined;
  requireStatus(reply, 201, 'not_stored');
}

async function makePushUrl(mailbox: Mailbox, target: Target, attempt: Attempt): Promise<string> {
  const { operatorToken } = attempt;
  const reply = await ask(
    target,
    {
      method: 'POST',
      path: '/v1/push-urls',
      headers: {
        'content-type': 'application/json',
        ...(operatorToken === undefined ? {} : { authorization: `Bearer ${operatorToken}` }),
      },
      body: utf8(JSON.stringify({ token: await tokenFor(mailbox, target, attempt) })),
    },
    'not_stored',
    attempt,
  );
  requireStatus(reply, 201, 'not_stored');
  if (URL.parse(reply.location) === null) throw new Ended('not_stored');
  return parsePushUrl(reply.location).path;
}

/** Asks until the message is there or the time is over, then acks all that there is. */
async function fetch({ mailbox }: Line, target: Target, nonce: Uint8Array, attempt: Attempt): Promise<void> {
  const { clock, untilMs } = attempt;
  for (;;) {
    // The site has to answer a little before the time is over; otherwise its silence is the finding.
    const waitSeconds = Math.floor((untilMs - clock.monotonicMs()) / 1000) - 1;
    if (waitSeconds < 0) throw new Ended('not_delivered');
    const authorization = `Bearer ${await tokenFor(mailbox, target, attempt)}`;
    const path = `/v1/messages?wait=${waitSeconds}`;
    const reply = await ask(
      target,
      { method: 'GET', path, headers: { authorization } },
      'not_fetched',
      attempt,
    );
    requireStatus(reply, 200, 'not_fetched');
    const frames = parsePolled(reply.body, 0);
    if (frames === undefined) throw new Ended('not_fetched');
    if (frames.length === 0) {
      await clock.sleep(ASK_AGAIN_MS);
      continue;
    }
    const nonces = await Promise.all(frames.map(async (frame) => nonceIn(frame, mailbox)));
    await ack(frames, mailbox, target, attempt);
    if (nonces.some((one) => one !== undefined && Buffer.compare(one, nonce) === 0)) return;
  }
}

async function nonceIn({ body }: MessageFrame, mailbox: Mailbox): Promise<Uint8Array | undefined> {
  const plaintext = await mailbox.decrypt(body).catch(() => undefined);
  return plaintext?.subarray(0, NONCE_BYTES);
}

async function ack(
  frames: readonly MessageFrame[],
  mailbox: Mailbox,
  target: Target,
  attempt: Attempt,
): Promise<void> {
  const ids = frames.map(({ id }) => id);
  const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
  const signature = toBase64url(await mailbox.signAck(idBytes));
  const authorization = `Bearer ${await tokenFor(mailbox, target, attempt)}`;
  const headers = { 'content-type': 'application/json', authorization };
  const body = utf8(JSON.stringify({ ids, signature }));
  const reply = await ask(
    target,
    { method: 'POST', path: '/v1/acks', headers, body },
    'not_fetched',
    attempt,
  );
  requireStatus(reply, 204, 'not_fetched');
}

function tokenFor(mailbox: Mailbox, target: Target, { manifest, clock }: Attempt): Promise<string> {
  return mailbox.token(siteOrigin(manifest, target.site), Math.floor(clock.wallMs() / 1000));
}

interface CanaryRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

interface CanaryReply {
  readonly status: number;
  readonly location: string;
  readonly body: Uint8Array;
}

function requireStatus(reply: CanaryReply, wanted: number, otherwise: CanaryOutcome): void {
  if (reply.status === wanted) return;
  const isAsked = reply.status < 500 || PATIENCE_CODES.includes(problemCode(reply.body));
  throw new Ended(isAsked ? 'refused' : otherwise);
}

/** One request to the target's address under the fleet's own name, as a client would make it. */
async function ask(
  target: Target,
  { method, path, headers, body }: CanaryRequest,
  failure: CanaryOutcome,
  { manifest, trust, clock, random, untilMs }: Attempt,
): Promise<CanaryReply> {
  const { promise, resolve, reject } = Promise.withResolvers<CanaryReply>();
  const addresses = siteNamed(manifest, target.site)?.relay[target.family] ?? [];
  const { port, zone } = manifest;
  const options = {
    host: addresses[Math.floor(random.fraction() * addresses.length)],
    port,
    servername: zone,
    method,
    path,
    agent: false,
    headers: {
      ...headers,
      host: port === 443 ? zone : `${zone}:${port}`,
      ...(body === undefined ? {} : { 'content-length': String(body.length) }),
    },
    secureContext: trust,
  };
  const attempt = request(options, (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > RESPONSE_BYTES_MAX) reject(new Ended(failure));
      else chunks.push(chunk);
    });
    response.on('error', () => reject(new Ended(failure)));
    response.on('end', () => {
      const { statusCode: status = 0, headers: said } = response;
      resolve({ status, location: said.location ?? '', body: Buffer.concat(chunks) });
    });
  });
  const cancel = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () =>
    reject(new Ended(clock.monotonicMs() - untilMs > STALL_MS ? 'local_stall' : failure)),
  );
  attempt.on('error', (error) => reject(new Ended(isLocalCode(errorCode(error)) ? 'local_error' : failure)));
  attempt.end(body);
  try {
    return await promise;
  } finally {
    cancel();
    attempt.destroy();
  }
}
