/**
 * Which ids go out over which socket, and how often a signature is made for that.
 */
import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../system/clock.ts';
import { type Random, seededRandom } from '../system/random.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { type AckConfig, type Acks, createAcks, gather } from './acks.ts';
import { toBase64url } from './bytes.ts';
import type { Link } from './link.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';
import { webRandom } from './web-clock.ts';

const id = (number: number): string => toBase64url(new Uint8Array(16).fill(number));
/** The largest lot: whole batches and whole waits, but for a rounding. */
const LARGEST = 1 - 2 ** -32;
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
  random: Pick<Random, 'fraction'> = { fraction: () => LARGEST },
): { readonly acks: Acks; readonly signatures: () => number } {
  let count = 0;
  const counting: Mailbox = {
    ...mailbox,
    signAck: (idBytes) => {
      count += 1;
      return mailbox.signAck(idBytes);
    },
  };
  return {
    acks: createAcks([counting], { clock, random }, config, () => ready),
    signatures: () => count,
  };
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
  const config = { batchForMs: 20, batchForMsMax: 250, batchIdsMax: 96 };
  const after = (ids: number, lot: number): readonly number[] =>
    [0, 249, 250, Number.POSITIVE_INFINITY].map((sinceMs) => gather({ sinceMs, ids }, config, lot).forMs);
  expect(after(7, 0)).toEqual([125, 125, 20, 20]);
  expect(after(8, 0)).toEqual([625, 625, 20, 20]);
  expect(after(8, 0.5)).toEqual([937.5, 937.5, 20, 20]);
  expect(gather({ sinceMs: 5, ids: 1 }, { ...config, batchForMs: 400 }, 0.5).forMs).toBe(400);
  expect(gather({ sinceMs: 0, ids: 9 }, { ...config, batchForMs: 0, batchForMsMax: 0 }, 0.5).forMs).toBe(0);
});

test('a batch is between half full and full, and has one message at least', () => {
  const sizes = (batchIdsMax: number): readonly number[] =>
    [0, 0.5, LARGEST].map(
      (lot) => gather({ sinceMs: 0, ids: 0 }, { batchForMs: 20, batchForMsMax: 250, batchIdsMax }, lot).ids,
    );
  expect(sizes(96)).toEqual([48, 72, 96]);
  expect(sizes(1)).toEqual([1, 1, 1]);
});

test('recipients of the same messages come apart', () => {
  const clock = createManualClock();
  const config = { batchForMs: 20, batchForMsMax: 250, batchIdsMax: 96 };
  const random = seededRandom(7);
  const recipients = Array.from({ length: 20 }, () =>
    createCountingAcks([fakeLink().link], clock, config, random),
  );
  // Every 10 ms a message for all of them; after a while no moment has more than a few acks.
  const together: number[] = [];
  for (let number = 0; number < 2_000; number += 1) {
    const before = recipients.map(({ signatures }) => signatures());
    for (const { acks } of recipients) acks.add(0, String(number), []);
    clock.advance(10);
    together.push(recipients.filter(({ signatures }, place) => signatures() > (before[place] ?? 0)).length);
  }
  expect(together.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(20 * 20);
  expect(Math.max(...together.slice(1_000))).toBeLessThan(5);
});

test('a batch of many lets the next one grow, until nothing came for a while', () => {
  const clock = createManualClock();
  const config = { batchForMs: 20, batchForMsMax: 250, batchIdsMax: 8 };
  const { acks, signatures } = createCountingAcks([fakeLink().link], clock, config);
  for (let number = 1; number <= 9; number += 1) acks.add(0, id(number), []);
  expect(signatures()).toBe(1);
  clock.advance(1249);
  expect(signatures()).toBe(1);
  clock.advance(1);
  expect(signatures()).toBe(2);
  clock.advance(250);
  acks.add(0, id(10), []);
  clock.advance(20);
  expect(signatures()).toBe(3);
});
