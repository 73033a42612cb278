/**
 * One WebSocket at one site, from dialling to its end (docs/protocol.md, "Receiving"): answers the welcome with
 * tokens made for exactly that site, watches the heartbeat, and hands on messages. It decides nothing about where
 * to go next, and it ends once, with a reason.
 */
import { isAudienceOf, type Site } from './fleet.ts';
import {
  BEAT,
  type ControlFrame,
  encodeAck,
  encodeHello,
  parseControlFrame,
  parseMessageFrame,
  SUBPROTOCOL,
} from './frames.ts';
import type { Link, LinkEnd, LinkOptions } from './link.ts';
import type { Socket } from './transport.ts';

export interface SessionOptions extends LinkOptions {
  /** The first word of a relay has come: a WebSocket gets through to it. */
  readonly onWelcome: () => void;
}

/** A relay may not ask for a longer silence than this, milliseconds: it could hide that it is gone. */
const HEARTBEAT_MS_MAX = 10_000;
/**
 * What a client grants on top of the heartbeat, in milliseconds: room for a slow network, and little enough that a
 * first back-off and a new socket elsewhere still fit into the second that follows a heartbeat which did not come.
 */
const HEARTBEAT_SLACK_MS = 600;
/** How much later than it said a relay may close that drains, in milliseconds. */
const DRAIN_SLACK_MS = 1000;

export class Session implements Link {
  readonly kind = 'socket';
  readonly site: Site;
  readonly ended: Promise<LinkEnd>;
  readonly #options: SessionOptions;
  readonly #end: PromiseWithResolvers<LinkEnd> = Promise.withResolvers();
  readonly #socket: Socket;
  readonly #cancelOpening: () => void;
  #state: 'welcome_due' | 'ready_due' | 'ready' | 'ended' = 'welcome_due';
  #heardMs = 0;
  #silenceMs: number = HEARTBEAT_MS_MAX + HEARTBEAT_SLACK_MS;
  #cancelWatch: () => void = () => undefined;
  #alternates: readonly string[] | undefined;
  #cancelLeaving: () => void = () => undefined;

  /** Dials. Throws `TransportError` (origin_not_allowed). */
  constructor(options: SessionOptions) {
    this.#options = options;
    this.site = options.site;
    this.ended = this.#end.promise;
    this.#socket = options.transport.connect(options.site.origin, '/v1/ws', SUBPROTOCOL, {
      onText: (text) => this.#onText(text),
      onBinary: (bytes) => this.#onBinary(bytes),
      onClose: (code) => this.end(endOf(code, this.#state === 'welcome_due')),
    });
    this.#cancelOpening = options.clock.after(options.openWithinMs, () => this.end('open_timeout'));
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get alternates(): readonly string[] | undefined {
    return this.#alternates;
  }

  async ack(mailbox: number, signature: Uint8Array, idBytes: Uint8Array): Promise<void> {
    this.#socket.send(encodeAck(mailbox, signature, idBytes));
  }

  end(reason: LinkEnd): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancelOpening();
    this.#cancelWatch();
    this.#cancelLeaving();
    this.#end.resolve(reason);
    this.#socket.close(1000);
  }

  #onText(text: string): void {
    if (this.#state === 'ended') return;
    this.#heardMs = this.#options.clock.monotonicMs();
    const frame = parseControlFrame(text);
    if (frame.ok) this.#onControl(frame.value);
    // A type of frame that a later relay may know is not for us; one that breaks the rules is for nobody.
    else if (frame.fault === 'malformed') this.end('relay_malformed');
  }

  #onBinary(bytes: Uint8Array): void {
    if (this.#state === 'ended') return;
    this.#heardMs = this.#options.clock.monotonicMs();
    const frame = parseMessageFrame(bytes);
    if (frame.ok && this.#state === 'ready' && frame.value.mailbox < this.#options.mailboxes.length) {
      this.#options.onMessage(this, frame.value);
    } else if (frame.ok || frame.fault === 'malformed') this.end('relay_malformed');
  }

  #onControl(frame: ControlFrame): void {
    switch (frame.t) {
      case 'welcome':
        if (this.#state !== 'welcome_due') return this.end('relay_malformed');
        if (!isAudienceOf(this.site.origin, frame.audience)) return this.end('audience_foreign');
        this.#state = 'ready_due';
        this.#options.onWelcome();
        this.#silenceMs = Math.min(frame.heartbeatMs, HEARTBEAT_MS_MAX) + HEARTBEAT_SLACK_MS;
        void this.#greet(frame.audience);
        return;
      case 'ready':
        if (this.#state !== 'ready_due') return this.end('relay_malformed');
        this.#state = 'ready';
        this.#cancelOpening();
        this.#watch();
        return this.#options.onReady(this);
      case 'empty':
        if (this.#state !== 'ready') return this.end('relay_malformed');
        return this.#options.onEmpty(this, frame.mailbox);
      case 'drain':
        if (this.#state !== 'ready') return this.end('relay_malformed');
        return this.#leave(frame.withinMs, frame.alternates);
      case 'beat':
        return this.#socket.send(BEAT);
    }
  }

  /** The relay serves us until it closes; one that forgets to is left. */
  #leave(withinMs: number, alternates: readonly string[]): void {
    this.#alternates = alternates;
    this.#cancelLeaving();
    this.#cancelLeaving = this.#options.clock.after(withinMs + DRAIN_SLACK_MS, () => this.end('draining'));
  }

  async #greet(audience: string): Promise<void> {
    const { mailboxes, nowSeconds, window } = this.#options;
    try {
      const tokens = await Promise.all(mailboxes.map((mailbox) => mailbox.token(audience, nowSeconds())));
      const hello = encodeHello(tokens, window);
      if (this.#state === 'ready_due') this.#socket.send(hello);
    } catch (error) {
      this.#end.reject(error);
      this.end('stopped');
    }
  }

  /** Ends the session once nothing was heard for too long; looks again when that could be. */
  #watch(): void {
    const { clock } = this.#options;
    const leftMs = this.#heardMs + this.#silenceMs - clock.monotonicMs();
    if (leftMs <= 0) this.end('silent');
    else this.#cancelWatch = clock.after(leftMs, () => this.#watch());
  }
}

function endOf(code: number, beforeWelcome: boolean): LinkEnd {
  switch (code) {
    case 1012:
      return 'draining';
    case 1013:
      return 'overloaded';
    case 4400:
    case 4413:
      return 'frame_refused';
    case 4401:
      return 'token_refused';
    case 4429:
      return 'too_slow';
    default:
      return beforeWelcome ? 'unreachable' : 'closed';
  }
}
