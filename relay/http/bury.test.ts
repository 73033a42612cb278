/** The names of what may go wrong with a deletion. */
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { createRetraction } from '../core/retraction.ts';
import { StoreUnavailable } from '../ports.ts';
import { Congested } from '../replication/batcher.ts';
import { buryFor } from './bury.ts';

const mailbox = createTestMailbox();
const opened = { id: mailbox.message('m').id, opening: 'AAAAAAAAAAAAAAAAAAAAAA' };
const tombstone = createRetraction(mailbox.tag, [opened], 1);

test.each([
  ['the store is away', new StoreUnavailable('away'), 'store_unavailable'],
  ['too much waits for it', new Congested('full'), 'overloaded'],
])('when %s nobody is told that it is done', async (_, error, code) => {
  expect(await buryFor({ bury: () => Promise.reject(error) }, tombstone)).toEqual({ ok: false, fault: code });
});

test('a fault of the relay itself stays one', async () => {
  const bury = (): Promise<never> => Promise.reject(new TypeError('a bug'));
  await expect(buryFor({ bury }, tombstone)).rejects.toThrow('a bug');
});
