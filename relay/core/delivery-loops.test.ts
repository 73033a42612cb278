/** Which messages are held back, and for how long that is remembered. */
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { createDeliveryLoops, HEADS_MAX } from './delivery-loops.ts';
import type { MailboxTag } from './mailbox.ts';

const { tag } = createTestMailbox();

function headTimes(times: number, id: string, loops = createDeliveryLoops()): typeof loops {
  for (let time = 0; time < times; time += 1) loops.noteHead(tag, id);
  return loops;
}

test('a message is held back once it headed one connection too many', () => {
  const loops = headTimes(HEADS_MAX, 'bad');
  expect(loops.heldBack(tag)).toEqual([]);
  expect(loops.noteHead(tag, 'bad')).toBe(true);
  expect(loops.heldBack(tag)).toEqual(['bad']);
});

test('only connections in a row count', () => {
  const loops = headTimes(HEADS_MAX, 'slow');
  loops.noteHead(tag, 'other');
  expect(loops.noteHead(tag, 'slow')).toBe(false);
});

test('an ack ends it', () => {
  const loops = headTimes(HEADS_MAX + 1, 'bad');
  loops.forget(tag, ['another', 'bad']);
  expect(loops.heldBack(tag)).toEqual([]);
  const counting = headTimes(HEADS_MAX, 'slow');
  counting.forget(tag, ['slow']);
  expect(counting.noteHead(tag, 'slow')).toBe(false);
});

test('several take turns, and no more are remembered than the limit', () => {
  const loops = createDeliveryLoops();
  for (let bad = 0; bad < 40; bad += 1) headTimes(HEADS_MAX + 1, `bad ${bad}`, loops);
  const before = loops.heldBack(tag);
  expect(before).toHaveLength(16);
  expect(before.at(-1)).toBe('bad 39');
  loops.rotate(tag);
  expect(loops.heldBack(tag)).toEqual([...before.slice(1), before[0]]);
});

test('mailboxes that were quiet the longest are forgotten when there are too many', () => {
  const loops = headTimes(HEADS_MAX + 1, 'bad');
  for (let other = 0; other < 9_999; other += 1) loops.noteHead(`other ${other}` as MailboxTag, 'm');
  expect(loops.heldBack(tag)).toEqual(['bad']);
  loops.noteHead('one more' as MailboxTag, 'm');
  expect(loops.heldBack(tag)).toEqual([]);
});
