/**
 * Receiving from one site where no WebSocket gets through: ask, wait, get what is not acked, ack it, ask again
 * (docs/protocol.md, "Receiving: long-poll"). From outside it is a link like a WebSocket.
 *
 * Every answer holds all that is not acked, so what this link has handed on already is left out, as a relay does on
 * a socket, and a window limits what may wait for its ack. A few mailboxes are asked about at the same time; more
 * than that take turns, because browsers open only six connections to one site, and acks need one too.
 */
import { toBase64url, utf8 } from './bytes.ts';
import { ProtocolError, TransportError } from './errors.ts';
import { fetchInfo, isAudienceOf, type Site } from './fleet.ts';
import type { MessageFrame } from './frames.ts';
import type { Link, LinkEnd, LinkOptions } from './link.ts';
import type { Mailbox } from './mailbox.ts';
import { parsePolled } from './polled.ts';
import { problemCode } from './problem.ts';
import type { HttpRequest, HttpResponse } from './transport.ts';

/** Mailboxes that are asked about at the same time. */
const LANES_MAX = 4;
/** How long a site may keep a question, seconds: a site that falls silent is noticed by then. */
const WAIT_SECONDS = 5;
/** The same when mailboxes take turns. */
const TURN_SECONDS = 1;
/** What an answer may take on top, milliseconds; the largest has 1.4 MB. */
const ANSWER_WITHIN_MS = 5000;
/** Bodies of 1 MiB in base64 and what is around them, bytes. */
const ANSWER_BYTES_MAX: number = 2 * 1024 * 1024;
/** What is handed on and not acked is asked about again after so long, milliseconds: more may have come. */
const LOOK_AGAIN_MS = 1000;
const ID_BYTES = 16;

interface Box {
  readonly place: number;
  readonly mailbox: Mailbox;
  /** Ids that were handed on and are not known to be acked. */
  readonly onTheWay: Set<string>;
  wasAsked: boolean;
  wasEmpty: boolean;
  /** Ends the pause before the next question. */
  wake: () => void;
}

export class LongPoll implements Link {
  readonly kind = 'poll';
  readonly site: Site;
  readonly ended: Promise<LinkEnd>;
  /** A relay that drains says no more to a long-poll than that it does. */
  readonly alternates = undefined;
  readonly #options: LinkOptions;
  readonly #end: PromiseWithResolvers<LinkEnd> = Promise.withResolvers();
  readonly #stop: AbortController = new AbortController();
  readonly #boxes: readonly Box[];
  readonly #cancelOpening: () => void;
  /** The site's own origin: the canonical one could lead elsewhere with every question. */
  #audience = '';
  #state: 'opening' | 'ready' | 'ended' = 'opening';

  /** Begins to ask. */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.site = options.site;
    this.ended = this.#end.promise;
    this.#boxes = options.mailboxes.map((mailbox, place) => ({
      place,
      mailbox,
      onTheWay: new Set<string>(),
      wasAsked: false,
      wasEmpty: false,
      wake: () => undefined,
    }));
    this.#cancelOpening = options.clock.after(options.openWithinMs, () => this.end('open_timeout'));
    this.#run().catch((error: unknown) => this.#fail(error));
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  async ack(place: number, signature: Uint8Array, idBytes: Uint8Array): Promise<void> {
    const box = this.#boxes[place];
    if (this.#state === 'ended' || box === undefined) return;
    const all = idsIn(idBytes);
    const body = utf8(JSON.stringify({ ids: all, signature: toBase64url(signature) }));
    const headers = { 'content-type': 'application/json', ...(await this.#authorization(box)) };
    const request = { origin: this.#audience, method: 'POST', path: '/v1/acks', headers, body } as const;
    const status = await this.#statusOf(request);
    if (status === 401) this.end('token_refused');
    // Without an answer they come again with the next one, and are acked again.
    for (const id of all) box.onTheWay.delete(id);
    if (status === 204 && box.onTheWay.size === 0) box.wake();
  }

  end(reason: LinkEnd): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancelOpening();
    this.#end.resolve(reason);
    this.#stop.abort(new Error('ended'));
    for (const { wake } of this.#boxes) wake();
  }

  async #run(): Promise<void> {
    const { openWithinMs, site, transport } = this.#options;
    const limits = { timeoutMs: openWithinMs, signal: this.#stop.signal };
    const { audience } = await fetchInfo(transport, site.origin, limits);
    if (!isAudienceOf(site.origin, audience)) return this.end('audience_foreign');
    this.#audience = audience;
    const lanes = Math.min(LANES_MAX, this.#boxes.length);
    await Promise.all(
      Array.from({ length: lanes }, (_, lane) =>
        this.#takeTurns(this.#boxes.filter(({ place }) => place % lanes === lane)),
      ),
    );
  }

  async #takeTurns(boxes: readonly Box[]): Promise<void> {
    const waitSeconds = boxes.length === 1 ? WAIT_SECONDS : TURN_SECONDS;
    while (!this.#stop.signal.aborted) {
      for (const box of boxes) {
        const isPatient = box.wasAsked && box.onTheWay.size === 0;
        const frames = await this.#ask(box, isPatient ? waitSeconds : 0);
        if (frames === undefined || this.#stop.signal.aborted) return;
        this.#hand(box, frames);
        if (frames.length > 0) await this.#pause(box);
      }
    }
  }

  /** Undefined when there was no good answer; the link has ended then. */
  async #ask(box: Box, waitSeconds: number): Promise<readonly MessageFrame[] | undefined> {
    const request = {
      origin: this.#audience,
      method: 'GET',
      path: `/v1/messages?wait=${waitSeconds}`,
      headers: await this.#authorization(box),
    } as const;
    const timeoutMs = waitSeconds * 1000 + ANSWER_WITHIN_MS;
    const limits = { timeoutMs, responseBytesMax: ANSWER_BYTES_MAX, signal: this.#stop.signal };
    const response = await this.#options.transport.request(request, limits);
    const frames = response.status === 200 ? parsePolled(response.body, box.place) : undefined;
    if (frames === undefined) this.end(this.#endOf(response));
    return frames;
  }

  /** Hands on what is new, as far as the window allows. */
  #hand(box: Box, frames: readonly MessageFrame[]): void {
    const { onEmpty, onMessage, onReady, window } = this.#options;
    box.wasAsked = true;
    if (this.#state === 'opening') {
      this.#state = 'ready';
      this.#cancelOpening();
      onReady(this);
    }
    const present = new Set(frames.map(({ id }) => id));
    for (const id of box.onTheWay) if (!present.has(id)) box.onTheWay.delete(id);
    let room = window - this.#boxes.reduce((sum, { onTheWay }) => sum + onTheWay.size, 0);
    for (const frame of frames) {
      if (room <= 0 || !this.isReady) return;
      if (box.onTheWay.has(frame.id)) continue;
      box.onTheWay.add(frame.id);
      room -= 1;
      onMessage(this, frame);
    }
    if (frames.length > 0 || box.wasEmpty) return;
    box.wasEmpty = true;
    onEmpty(this, box.place);
  }

  async #pause(box: Box): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    box.wake = resolve;
    const cancel = this.#options.clock.after(LOOK_AGAIN_MS, resolve);
    await promise;
    cancel();
  }

  async #authorization({ mailbox }: Box): Promise<{ readonly authorization: string }> {
    return { authorization: `Bearer ${await mailbox.token(this.#audience, this.#options.nowSeconds())}` };
  }

  /** Undefined without an answer. Goes on when the link ends, so that the last acks arrive. */
  async #statusOf(request: HttpRequest): Promise<number | undefined> {
    try {
      const { status } = await this.#options.transport.request(request, { timeoutMs: ANSWER_WITHIN_MS });
      return status;
    } catch (error) {
      if (error instanceof TransportError) return undefined;
      throw error;
    }
  }

  #endOf(response: HttpResponse): LinkEnd {
    const code = problemCode(response.body);
    if (code === 'draining' || code === 'overloaded') return code;
    if (response.status === 401) return 'token_refused';
    if (response.status === 200) return 'relay_malformed';
    return this.isReady ? 'closed' : 'unreachable';
  }

  #fail(error: unknown): void {
    if (this.#state === 'ended') return;
    if (error instanceof TransportError) {
      const isSilent = error.fault === 'timeout' && this.isReady;
      this.end(isSilent ? 'silent' : this.isReady ? 'closed' : 'unreachable');
    } else if (error instanceof ProtocolError) this.end('unreachable');
    else {
      this.#end.reject(error);
      this.end('stopped');
    }
  }
}

function idsIn(idBytes: Uint8Array): readonly string[] {
  return Array.from({ length: idBytes.length / ID_BYTES }, (_, index) =>
    toBase64url(idBytes.subarray(index * ID_BYTES, (index + 1) * ID_BYTES)),
  );
}
