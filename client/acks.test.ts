/**
 * Which ids go out over which socket, and how often a signature is made for that.
 */
import { expect, test } from 'vitest';
import { systemClock } from '../system/clock.ts';
import { type Acks, createAcks } from './acks.ts';
import { toBase64url } from './bytes.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';
import type { Session } from './session.ts';
import { webRandom } from './web-clock.ts';

const id = (number: number): string => toBase64url(new Uint8Array(16).fill(number));
const mailbox = await createMailbox(webRandom);

/** Stands in for a socket; `frames` lists the ids of each ack. */
function fakeSession(): { readonly session: Session; readonly frames: string[][] } {
  const frames: string[][] = [];
  const send = (frame: Uint8Array): void => {
    const ids: string[] = [];
    for (let at = 69; at < frame.length; at += 16) ids.push(toBase64url(frame.subarray(at, at + 16)));
    frames.push(ids);
  };
  return { session: { isReady: true, send } as unknown as Session, frames };
}

function createCountingAcks(ready: readonly Session[]): {
  readonly acks: Acks;
  readonly signatures: () => number;
} {
  let count = 0;
  const counting: Mailbox = {
    ...mailbox,
    signAck: (idBytes) => {
      count += 1;
      return mailbox.signAck(idBytes);
    },
  };
  const config = { batchForMs: 60_000, batchIdsMax: 3 };
  return { acks: createAcks([counting], systemClock, config, () => ready), signatures: () => count };
}

test('sockets that brought the same messages share one signature', async () => {
  const [one, other] = [fakeSession(), fakeSession()];
  const { acks, signatures } = createCountingAcks([one.session, other.session]);
  acks.add(0, id(1), [one.session]);
  acks.add(0, id(1), [other.session]);
  acks.add(0, id(2), [one.session, other.session]);
  await acks.flush();
  expect(one.frames).toEqual([[id(1), id(2)]]);
  expect(other.frames).toEqual(one.frames);
  expect(signatures()).toBe(1);
});

test('a socket is told only of what it brought', async () => {
  const [one, other] = [fakeSession(), fakeSession()];
  const { acks } = createCountingAcks([one.session, other.session]);
  acks.add(0, id(1), [one.session]);
  acks.add(0, id(2), [one.session, other.session]);
  await acks.flush();
  expect(one.frames).toEqual([[id(1), id(2)]]);
  expect(other.frames).toEqual([[id(2)]]);
});

test('what came over a socket that is gone is acked over another', async () => {
  const [gone, left] = [fakeSession(), fakeSession()];
  const { acks } = createCountingAcks([left.session]);
  acks.add(0, id(1), [gone.session]);
  await acks.flush();
  expect(gone.frames).toEqual([]);
  expect(left.frames).toEqual([[id(1)]]);
});

test('a full batch goes out without waiting', async () => {
  const one = fakeSession();
  const { acks } = createCountingAcks([one.session]);
  for (const number of [1, 2, 3, 4]) acks.add(0, id(number), [one.session]);
  await acks.flush();
  // Batches are signed side by side, so which frame is ready first is not promised.
  expect(one.frames).toHaveLength(2);
  expect(one.frames).toEqual(expect.arrayContaining([[id(1), id(2), id(3)], [id(4)]]));
});
