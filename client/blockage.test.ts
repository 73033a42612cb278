/**
 * When a client suspects that no WebSocket gets through.
 */
import { expect, test } from 'vitest';
import { createBlockage } from './blockage.ts';

test('sockets that end unheard at two providers raise the suspicion, at one they do not', () => {
  const blockage = createBlockage();
  blockage.silenced('aws');
  blockage.silenced('aws');
  expect(blockage.isSuspected(3)).toBe(false);
  blockage.silenced('gcp');
  expect(blockage.isSuspected(3)).toBe(true);
});

test('where there is one provider, one is enough', () => {
  const blockage = createBlockage();
  expect(blockage.isSuspected(1)).toBe(false);
  blockage.silenced('any');
  expect(blockage.isSuspected(1)).toBe(true);
});

test('a word over any socket ends it', () => {
  const blockage = createBlockage();
  blockage.silenced('aws');
  blockage.silenced('gcp');
  blockage.clear();
  expect(blockage.isSuspected(3)).toBe(false);
  blockage.silenced('aws');
  expect(blockage.isSuspected(3)).toBe(false);
});
