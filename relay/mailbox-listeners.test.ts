/** Who listens to a mailbox: the same as a set for each mailbox would say, whatever comes and goes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox } from '../test/support/mailbox.ts';
import type { MailboxTag } from './core/mailbox.ts';
import { createMailboxListeners } from './mailbox-listeners.ts';

const TAGS: readonly MailboxTag[] = [createTestMailbox().tag, createTestMailbox().tag];
const LISTENERS = [{ name: 'a' }, { name: 'b' }, { name: 'c' }] as const;

const steps = fc.array(
  fc.record({
    isAdded: fc.boolean(),
    tag: fc.constantFrom(...TAGS),
    listener: fc.constantFrom(...LISTENERS),
  }),
  { maxLength: 30 },
);

test('they are those that were added and not removed, each once, in their order', () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const listeners = createMailboxListeners<(typeof LISTENERS)[number]>();
      const model = new Map(TAGS.map((tag) => [tag, new Set<(typeof LISTENERS)[number]>()]));
      for (const { isAdded, tag, listener } of taken) {
        if (isAdded) {
          listeners.add(tag, listener);
          model.get(tag)?.add(listener);
        } else {
          listeners.remove(tag, listener);
          model.get(tag)?.delete(listener);
        }
        for (const [one, expected] of model) {
          expect([...listeners.of(one)]).toEqual([...expected]);
          expect(listeners.has(one)).toBe(expected.size > 0);
        }
      }
    }),
  );
});

test('one that is asked for while it leaves is still told to the others', () => {
  const listeners = createMailboxListeners<{ readonly name: string }>();
  const [tag] = TAGS;
  if (tag === undefined) throw new Error('no tag');
  for (const listener of LISTENERS) listeners.add(tag, listener);
  const told: string[] = [];
  for (const listener of listeners.of(tag)) {
    told.push(listener.name);
    listeners.remove(tag, listener);
  }
  expect(told).toEqual(['a', 'b', 'c']);
  expect(listeners.has(tag)).toBe(false);
});
