/** Steps that must not overlap. */
import { expect, test } from 'vitest';
import { createTurns } from './turns.ts';

test('steps run in order and never at the same time, also after one that failed', async () => {
  const inTurn = createTurns();
  const told: string[] = [];
  const step =
    (name: string, fails = false) =>
    async (): Promise<string> => {
      told.push(`${name} begins`);
      await Promise.resolve();
      told.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    };
  const results = await Promise.allSettled([
    inTurn(step('one')),
    inTurn(step('two', true)),
    inTurn(step('three')),
  ]);
  expect(results.map(({ status }) => status)).toStrictEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(told).toStrictEqual(['one', 'two', 'three'].flatMap((name) => [`${name} begins`, `${name} ends`]));
});
