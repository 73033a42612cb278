/**
 * Connections on which push requests come in their plainest form (`push-head.ts`), read and answered here, one at a time.
 * With the first byte that is anything else a connection goes to Node's HTTP server for good, and nothing that it sent is
 * lost on the way: so a request is refused, limited and timed by that server whenever it is not plainly good, and this
 * file has no rules of its own to get wrong.
 *
 * A request is plain only when all of it came at once. So there is never half a request here that would have to be timed.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../system/clock.ts';
import { fail, ok } from '../../system/result.ts';
import {
  PLAIN_HEAD_BYTES_MAX,
  type PlainFields,
  parsePlainFields,
  parsePlainLine,
} from '../core/push-head.ts';
import type { IncomingPush } from './push.ts';
import { type AnswerPush, textOf } from './push-answer.ts';

export interface PushStreamsDeps {
  readonly answer: AnswerPush;
  /** Takes a connection from its first byte that was not answered here. */
  readonly handOver: (socket: TLSSocket) => void;
  readonly clock: Pick<Clock, 'wallMs'>;
  /** How long a connection may say nothing at first, and after an answer, milliseconds. */
  readonly firstWithinMs: number;
  readonly keptMs: number;
  /** How often the two above are checked, milliseconds. */
  readonly checkEveryMs: number;
}

export interface PushStreams {
  readonly take: (socket: TLSSocket) => void;
  /** Ends the connections on which no request is under way. */
  closeIdle(): void;
  closeAll(): void;
}

/** No connection yet; the time limits are checked for as long as the process lives. */
export function createPushStreams(deps: PushStreamsDeps): PushStreams {
  const streams = new Set<PushStream>();
  const dateNow = createDate(deps.clock);
  const shared: Shared = { ...deps, dateNow, left: (stream) => void streams.delete(stream) };
  const check = (): void => {
    for (const stream of streams) stream.check();
  };
  setInterval(check, deps.checkEveryMs).unref();
  return {
    take: (socket) => void streams.add(new PushStream(socket, shared)),
    closeIdle: () => {
      for (const stream of streams) if (!stream.isAnswering) stream.socket.destroy();
    },
    closeAll: () => {
      for (const { socket } of streams) socket.destroy();
    },
  };
}

interface Shared extends PushStreamsDeps {
  readonly dateNow: () => string;
  readonly left: (stream: PushStream) => void;
}

interface PlainRequest {
  readonly incoming: IncomingPush;
  /** Of head and body, bytes. */
  readonly length: number;
}

/** What is kept of a sender that does not wait for its answers, before the next read; a request with the largest body fits. */
const READ_AHEAD_BYTES: number = 128 * 1024;
const BEGIN = Buffer.from('POST /p/', 'latin1');
const LINE_END = Buffer.from('\r\n', 'latin1');
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');

class PushStream {
  readonly socket: TLSSocket;
  readonly #shared: Shared;
  readonly #address: string | undefined;
  /** Came while a request was under way. */
  #rest: Buffer | undefined;
  #isAnswering = false;
  #hasAnswered = false;
  /** Checks since something was heard or answered. */
  #quietChecks = 0;
  /** A sender's header lines are mostly the same as the last time. */
  #lastText = '';
  #lastFields: PlainFields | undefined;

  constructor(socket: TLSSocket, shared: Shared) {
    this.socket = socket;
    this.#shared = shared;
    this.#address = socket.remoteAddress;
    socket.on('data', this.#onData).on('error', this.#onError).on('close', this.#onClose);
  }

  get isAnswering(): boolean {
    return this.#isAnswering;
  }

  /** Ends the connection when it has been quiet for too long. */
  check(): void {
    const { keptMs, firstWithinMs, checkEveryMs } = this.#shared;
    this.#quietChecks += 1;
    const quietMs = this.#quietChecks * checkEveryMs;
    if (!this.#isAnswering && quietMs > (this.#hasAnswered ? keptMs : firstWithinMs)) this.socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    if (this.#isAnswering) {
      // A sender that does not wait for its answer: what more it has to say waits in its own system.
      this.#rest = bytes;
      this.socket.pause();
    } else this.#read(bytes);
  };

  readonly #onError = (): void => void this.socket.destroy();

  readonly #onClose = (): void => this.#shared.left(this);

  #read(bytes: Buffer): void {
    const request = this.#parse(bytes);
    if (request === undefined) {
      this.#handOver(bytes);
      return;
    }
    this.#rest = bytes.length > request.length ? bytes.subarray(request.length) : undefined;
    this.#isAnswering = true;
    void this.#answer(request.incoming);
  }

  #parse(bytes: Buffer): PlainRequest | undefined {
    if (bytes.length < BEGIN.length || BEGIN.compare(bytes, 0, BEGIN.length) !== 0) return undefined;
    const lineEnd = bytes.indexOf(LINE_END);
    const headEnd = bytes.indexOf(HEAD_END);
    if (lineEnd < 0 || headEnd <= lineEnd || headEnd > PLAIN_HEAD_BYTES_MAX) return undefined;
    const capability = parsePlainLine(bytes.toString('latin1', 0, lineEnd));
    const fields = this.#fieldsOf(bytes.toString('latin1', lineEnd + LINE_END.length, headEnd));
    if (capability === undefined || fields === undefined) return undefined;
    const from = headEnd + HEAD_END.length;
    const length = from + fields.length;
    if (bytes.length < length) return undefined;
    const body = bytes.subarray(from, length);
    const { headers } = fields;
    const credential = {
      address: this.#address,
      url: `/p/${capability}`,
      authorization: headers['authorization']?.[0],
    };
    const readBody: IncomingPush['readBody'] = (bytesMax) =>
      body.length > bytesMax ? fail('body_too_large') : ok(body);
    return { incoming: { capability, credential, headers, readBody }, length };
  }

  #fieldsOf(text: string): PlainFields | undefined {
    if (text === this.#lastText) return this.#lastFields;
    this.#lastText = text;
    this.#lastFields = parsePlainFields(text);
    return this.#lastFields;
  }

  async #answer(incoming: IncomingPush): Promise<void> {
    const answer = await this.#shared.answer(incoming);
    const { socket } = this;
    this.#isAnswering = false;
    this.#hasAnswered = true;
    this.#quietChecks = 0;
    if (!socket.writable) return;
    const text = textOf(answer, this.#shared.dateNow(), Math.floor(this.#shared.keptMs / 1000));
    if (answer.headers['Connection'] !== undefined) {
      socket.end(text, 'latin1');
      return;
    }
    if (socket.write(text, 'latin1')) this.#proceed();
    else socket.pause().once('drain', () => this.#proceed());
  }

  /** Goes on with what came meanwhile. */
  #proceed(): void {
    if (this.#rest === undefined) {
      if (this.socket.isPaused()) this.socket.resume();
      return;
    }
    // Others first: a sender that does not wait for its answers must not keep them waiting for all of its requests.
    this.#isAnswering = true;
    // So that the last request of what is here, of which only a part may be, is whole when it is its turn.
    if (this.#rest.length < READ_AHEAD_BYTES && this.socket.isPaused()) this.socket.resume();
    setImmediate(() => {
      const rest = this.#rest;
      this.#rest = undefined;
      this.#isAnswering = false;
      if (rest !== undefined && this.socket.writable) this.#read(rest);
    });
  }

  #handOver(bytes: Buffer): void {
    const { socket } = this;
    socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
    this.#shared.left(this);
    this.#shared.handOver(socket);
    // As the next thing that it hears, ahead of whatever the socket still has.
    socket.emit('data', bytes);
    if (socket.isPaused()) socket.resume();
  }
}

/** The date for an answer, made anew once a second. */
function createDate(clock: Pick<Clock, 'wallMs'>): () => string {
  let second = -1;
  let text = '';
  return () => {
    const now = Math.floor(clock.wallMs() / 1000);
    if (now !== second) {
      second = now;
      text = new Date(now * 1000).toUTCString();
    }
    return text;
  };
}
