/**
 * Which ids go out over which socket, and how often a signature is made for that.
 */
import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../system/clock.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { type AckConfig, type Acks, createAcks, gatherMs } from './acks.ts';
import { toBase64url } from './bytes.ts';
import type { Link } from './link.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';
import { webRandom } from './web-clock.ts';

const id = (number: number): string => toBase64url(new Uint8Array(16).fill(number));
const mailbox = await createMailbox(webRandom);

/** Stands in for a socket; `frames` lists the ids of each ack. */
function fakeLink(): { readonly link: Link; readonly frames: string[][] } {
  const frames: string[][] = [];
  const ack: Link['ack'] = async (_place, _signature, idBytes) => {
    const ids: string[] = [];
    for (let at = 0; at < idBytes.length; at += 16) ids.push(toBase64url(idBytes.subarray(at, at + 16)));
    frames.push(ids);
  };
  return { link: { isReady: true, ack } as unknown as Link, frames };
}

function createCountingAcks(
  ready: readonly Link[],
  clock: Clock = systemClock,
  config: AckConfig = { batchForMs: 60_000, batchForMsMax: 60_000, batchIdsMax: 3 },
): { readonly acks: Acks; readonly signatures: () => number } {
  let count = 0;
  const counting: Mailbox = {
    ...mailbox,
    signAck: (idBytes) => {
      count += 1;
      return mailbox.signAck(idBytes);
    },
  };
  return { acks: createAcks([counting], clock, config, () => ready), signatures: () => count };
}

test('sockets that brought the same messages share one signature', async () => {
  const [one, other] = [fakeLink(), fakeLink()];
  const { acks, signatures } = createCountingAcks([one.link, other.link]);
  acks.add(0, id(1), [one.link]);
  acks.add(0, id(1), [other.link]);
  acks.add(0, id(2), [one.link, other.link]);
  await acks.flush();
  expect(one.frames).toEqual([[id(1), id(2)]]);
  expect(other.frames).toEqual(one.frames);
  expect(signatures()).toBe(1);
});

test('a socket is told only of what it brought', async () => {
  const [one, other] = [fakeLink(), fakeLink()];
  const { acks } = createCountingAcks([one.link, other.link]);
  acks.add(0, id(1), [one.link]);
  acks.add(0, id(2), [one.link, other.link]);
  await acks.flush();
  expect(one.frames).toEqual([[id(1), id(2)]]);
  expect(other.frames).toEqual([[id(2)]]);
});

test('what came over a socket that is gone is acked over another', async () => {
  const [gone, left] = [fakeLink(), fakeLink()];
  const { acks } = createCountingAcks([left.link]);
  acks.add(0, id(1), [gone.link]);
  await acks.flush();
  expect(gone.frames).toEqual([]);
  expect(left.frames).toEqual([[id(1)]]);
});

test('a full batch goes out without waiting', async () => {
  const one = fakeLink();
  const { acks } = createCountingAcks([one.link]);
  for (const number of [1, 2, 3, 4]) acks.add(0, id(number), [one.link]);
  await acks.flush();
  // Batches are signed side by side, so which frame is ready first is not promised.
  expect(one.frames).toHaveLength(2);
  expect(one.frames).toEqual(expect.arrayContaining([[id(1), id(2), id(3)], [id(4)]]));
});

test('acks are gathered for longer while messages follow each other, and longer still while many come', () => {
  const config = { batchForMs: 20, batchForMsMax: 250 };
  const after = (ids: number): readonly number[] =>
    [0, 249, 250, Number.POSITIVE_INFINITY].map((sinceMs) => gatherMs({ sinceMs, ids }, config));
  expect(after(7)).toEqual([250, 250, 20, 20]);
  expect(after(8)).toEqual([1000, 1000, 20, 20]);
  expect(gatherMs({ sinceMs: 5, ids: 1 }, { batchForMs: 400, batchForMsMax: 250 })).toBe(400);
  expect(gatherMs({ sinceMs: 0, ids: 9 }, { batchForMs: 0, batchForMsMax: 0 })).toBe(0);
});

test('a batch of many lets the next one grow, until nothing came for a while', () => {
  const clock = createManualClock();
  const { acks, signatures } = createCountingAcks([fakeLink().link], clock, {
    batchForMs: 20,
    batchForMsMax: 250,
    batchIdsMax: 8,
  });
  for (let number = 1; number <= 9; number += 1) acks.add(0, id(number), []);
  expect(signatures()).toBe(1);
  clock.advance(999);
  expect(signatures()).toBe(1);
  clock.advance(1);
  expect(signatures()).toBe(2);
  clock.advance(250);
  acks.add(0, id(10), []);
  clock.advance(20);
  expect(signatures()).toBe(3);
});
