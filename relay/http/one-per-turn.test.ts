/** Requests in heaps: one of each connection in each turn, none of a connection that has ended, and so many in all. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { onePerTurn } from './one-per-turn.ts';

interface Connection {
  destroyed: boolean;
  paused: boolean;
  readonly pause: () => void;
}

function connection(): Connection {
  const made: Connection = {
    destroyed: false,
    paused: false,
    pause: () => {
      made.paused = true;
    },
  };
  return made;
}

interface Listening {
  readonly begun: string[];
  readonly left: () => number;
  readonly ask: (socket: Connection, url: string) => { readonly shouldKeepAlive: boolean };
}

function listening(requestsMax = 100): Listening {
  const begun: string[] = [];
  let left = 0;
  const onLeft = (): void => {
    left += 1;
  };
  const listener = onePerTurn((request) => void begun.push(request.url ?? ''), { requestsMax, onLeft });
  return {
    begun,
    left: () => left,
    ask: (socket, url) => {
      const response = { shouldKeepAlive: true };
      listener({ socket, url } as unknown as IncomingMessage, response as unknown as ServerResponse);
      return response;
    },
  };
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

test('the last request that a connection may bring ends it, and nothing is read beyond', async () => {
  const { begun, left, ask } = listening(3);
  const heap = connection();
  const kept = ['h1', 'h2', 'h3', 'h4', 'h5'].map((name) => ask(heap, name).shouldKeepAlive);
  for (let turns = 0; turns < 6; turns += 1) await turn();
  expect(begun).toEqual(['h1', 'h2', 'h3']);
  expect(kept.slice(0, 3)).toEqual([true, true, false]);
  expect(left()).toBe(2);
  expect(heap.paused).toBe(true);
});
