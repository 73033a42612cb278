/**
 * Of requests that come in a heap over one connection (pipelining, RFC 9112 §9.3.2) one begins in each turn of the event
 * loop, so that whoever sends a thousand at once keeps nobody else waiting for a thousand.
 *
 * A connection with too many of them is cut. Node keeps all that it has read of a connection and goes on reading, whatever
 * its listener says: with eight connections that made four gigabytes in half a minute.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

export interface TurnOptions {
  /** Requests of one connection that may wait for their turn. */
  readonly waitingMax: number;
  /** Called for each connection that is cut because it had more. */
  readonly onCut: () => void;
}

interface Heap {
  readonly waiting: Parameters<Listener>[];
  /** One was begun in this turn. */
  isTaken: boolean;
}

/** The same listener, called at once for the first request of a connection in a turn and later for those behind it, in order. */
export function onePerTurn(listener: Listener, { waitingMax, onCut }: TurnOptions): Listener {
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
    if (socket.destroyed) return;
    const heap = heaps.get(socket) ?? { waiting: [], isTaken: false };
    heaps.set(socket, heap);
    if (!heap.isTaken) begin(socket, heap, [request, response]);
    else if (heap.waiting.length < waitingMax) heap.waiting.push([request, response]);
    else {
      socket.destroy();
      onCut();
    }
  };
}
