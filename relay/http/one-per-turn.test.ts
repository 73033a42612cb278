/** Requests in heaps: one of each connection in each turn, none of a connection that has ended or has too many. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { onePerTurn } from './one-per-turn.ts';

interface Connection {
  destroyed: boolean;
  readonly destroy: () => void;
}

function connection(): Connection {
  const made: Connection = {
    destroyed: false,
    destroy: () => {
      made.destroyed = true;
    },
  };
  return made;
}

interface Listening {
  readonly begun: string[];
  readonly cut: () => number;
  readonly ask: (socket: Connection, url: string) => void;
}

function listening(waitingMax = 100): Listening {
  const begun: string[] = [];
  let cut = 0;
  const onCut = (): void => {
    cut += 1;
  };
  const listener = onePerTurn((request) => void begun.push(request.url ?? ''), { waitingMax, onCut });
  const ask: Listening['ask'] = (socket, url) =>
    listener({ socket, url } as unknown as IncomingMessage, {} as ServerResponse);
  return { begun, cut: () => cut, ask };
}

test('of each connection one request begins in a turn, in order', async () => {
  const { begun, ask } = listening();
  const heap = connection();
  const lone = connection();
  for (const name of ['h1', 'h2', 'h3']) ask(heap, name);
  ask(lone, 'l1');
  expect(begun).toEqual(['h1', 'l1']);
  await turn();
  expect(begun).toEqual(['h1', 'l1', 'h2']);
  ask(heap, 'h4');
  ask(lone, 'l2');
  await turn();
  await turn();
  expect(begun).toEqual(['h1', 'l1', 'h2', 'l2', 'h3', 'h4']);
});

test('what a connection asked for that has ended is not begun', async () => {
  const { begun, ask } = listening();
  const heap = connection();
  for (const name of ['h1', 'h2', 'h3']) ask(heap, name);
  heap.destroyed = true;
  for (let turns = 0; turns < 4; turns += 1) await turn();
  expect(begun).toEqual(['h1']);
});

test('a connection with too many of them is cut, once, and nothing more of it is begun', async () => {
  const { begun, cut, ask } = listening(2);
  const heap = connection();
  for (const name of ['h1', 'h2', 'h3', 'h4', 'h5']) ask(heap, name);
  for (let turns = 0; turns < 6; turns += 1) await turn();
  expect(begun).toEqual(['h1']);
  expect(heap.destroyed).toBe(true);
  expect(cut()).toBe(1);
});
