/** Batches as the scripts read them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { packInsertions } from './redis-packing.ts';

const mailbox = createTestMailbox();
const { id } = mailbox.message('one');
const sites = fc.array(fc.subarray(['aws', 'gcp', 'hetzner']), { minLength: 1, maxLength: 12 });

test('a time is 16 decimal digits, whichever a record can carry', () => {
  const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(fc.tuple(time, time, time), (timesMs) => {
      const record = Buffer.from('record');
      const { items } = packInsertions([{ mailbox: mailbox.tag, id, timesMs, owedTo: [], record }]);
      const digits = timesMs.map((timeMs) => String(timeMs).padStart(16, '0')).join('');
      expect(items.toString('latin1', 40, 88)).toBe(digits);
      expect(items.subarray(88)).toEqual(Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 6]), record]));
    }),
  );
});

test('each list of sites is named once, by its place, and none is 0', () => {
  fc.assert(
    fc.property(sites, (lists) => {
      const items = lists.map((owedTo) => ({
        mailbox: mailbox.tag,
        id,
        timesMs: [1, 2, 3],
        owedTo,
        record: Buffer.alloc(1),
      }));
      const packed = packInsertions(items);
      expect(new Set(packed.lists.map((list) => list.join())).size).toBe(packed.lists.length);
      expect(packed.listOf.map((place) => packed.lists[place - 1] ?? [])).toEqual(lists);
    }),
  );
});
