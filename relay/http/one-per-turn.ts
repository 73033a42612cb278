/**
 * Of requests that come in a heap over one connection (pipelining, RFC 9112 §9.3.2) one begins in each turn of the event
 * loop, so that whoever sends a thousand at once keeps nobody else waiting for a thousand.
 *
 * How many may come over a connection in all is limited too: Node keeps whatever it has read of them, however many that
 * are. Its own limit answers what is beyond and goes on reading.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

export interface TurnOptions {
  /** Requests over one connection; the answer to the last one says that the connection closes. */
  readonly requestsMax: number;
  /** Called for each request beyond them. It is not answered, and nothing more is read of its connection. */
  readonly onLeft: () => void;
}

interface Heap {
  count: number;
  readonly waiting: Parameters<Listener>[];
  /** One was begun in this turn. */
  isTaken: boolean;
}

/** The same listener, called at once for the first request of a connection in a turn and later for those behind it, in order. */
export function onePerTurn(listener: Listener, { requestsMax, onLeft }: TurnOptions): Listener {
  const heaps = new WeakMap<Socket, Heap>();
  const begin = (socket: Socket, heap: Heap, next: Parameters<Listener>): void => {
    heap.isTaken = true;
    setImmediate(goOn, socket, heap);
    listener(...next);
  };
  const goOn = (socket: Socket, heap: Heap): void => {
    heap.isTaken = false;
    const next = heap.waiting.shift();
    // Of a connection that has ended nobody is there to be answered.
    if (next !== undefined && !socket.destroyed) begin(socket, heap, next);
  };
  return (request, response) => {
    const { socket } = request;
    const heap = heaps.get(socket) ?? { count: 0, waiting: [], isTaken: false };
    heaps.set(socket, heap);
    heap.count += 1;
    if (heap.count > requestsMax) {
      socket.pause();
      onLeft();
      return;
    }
    if (heap.count === requestsMax) response.shouldKeepAlive = false;
    if (heap.isTaken) heap.waiting.push([request, response]);
    else begin(socket, heap, [request, response]);
  };
}
