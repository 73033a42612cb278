/**
 * The chain of the decision log: whatever was altered shows.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testManifest } from '../../test/support/manifests.ts';
import { type LogEntry, lineAfter, NO_LINES, readLog, type Tip } from './decision-log.ts';
import { answerWithAll } from './failover.ts';

const answer = answerWithAll(testManifest(['aws', 'gcp', 'hetzner']), 1);

function change(nowMs: number): LogEntry {
  return {
    kind: 'answer',
    vantage: 'aws',
    reason: 'withdrawn',
    previous: answer,
    answer: { ...answer, generation: 2 },
    ttlSeconds: 5,
    isolated: false,
    nowMs,
    own: '{}',
    votes: ['a.b.c'],
  };
}

function logOf(count: number, from: Tip = NO_LINES): readonly string[] {
  const lines: string[] = [];
  let tip = from;
  for (let index = 0; index < count; index += 1) {
    const next = lineAfter(tip, change(index), 1000 + index);
    lines.push(next.line);
    tip = next.tip;
  }
  return lines;
}

test('what was logged is what is read, in its order', () => {
  const read = readLog(logOf(4));
  expect(read.ok && read.value.map(({ n, atWallMs }) => [n, atWallMs])).toStrictEqual([
    [1, 1000],
    [2, 1001],
    [3, 1002],
    [4, 1003],
  ]);
});

test('a log whose older part was dropped still holds', () => {
  expect(readLog(logOf(6).slice(3)).ok).toBe(true);
});

test('a line that was altered, left out, doubled or moved breaks the chain after it', () => {
  const lines = logOf(6);
  const tampered: fc.Arbitrary<readonly string[]> = fc.nat({ max: 4 }).chain((at) =>
    fc.constantFrom(
      lines.map((line, index) => (index === at ? line.replace('withdrawn', 'returned') : line)),
      lines.filter((_, index) => index === 0 || index !== Math.max(1, at)),
      lines.flatMap((line, index) => (index === at ? [line, line] : [line])),
      [...lines.slice(0, at), lines[at + 1] ?? '', lines[at] ?? '', ...lines.slice(at + 2)],
    ),
  );
  fc.assert(
    fc.property(tampered, (changed) => {
      expect(readLog(changed)).toMatchObject({ ok: false });
    }),
  );
});

test('what is no record is refused with its line', () => {
  for (const line of ['', 'null', '[]', '{"n":1}', logOf(1)[0]?.replace('"targets"', '"t"') ?? '']) {
    expect(readLog([line])).toStrictEqual({
      ok: false,
      fault: 'line 1 is no record of a decision log',
    });
  }
});
