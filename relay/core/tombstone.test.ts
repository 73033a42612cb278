/** Tombstones that other sites send: how long they are believed, and what is told apart. */
import { expect, test } from 'vitest';
import { createTestMailbox, TEST_PEPPER } from '../../test/support/mailbox.ts';
import type { MessageId } from './message.ts';
import { openForeignTombstone, openTombstone } from './tombstone.ts';

const NOW_MS = 1_800_000_000_000;
const MONTH_MS = 30 * 24 * 3_600_000;
const FOREVER_MS = 253_402_300_799_000;
const mailbox = createTestMailbox();
const id = Buffer.alloc(16, 1).toString('base64url') as MessageId;

function expiryOf(record: Uint8Array): number | undefined {
  const opened = openForeignTombstone(record, TEST_PEPPER, NOW_MS);
  return opened.ok ? opened.value.expiresMs : undefined;
}

test('an ack and a retraction are remembered no longer than a message can live, whatever another site says', () => {
  for (const made of [mailbox.ack([id], FOREVER_MS), mailbox.retraction([id], FOREVER_MS)]) {
    expect(expiryOf(made.record)).toBe(NOW_MS + MONTH_MS);
  }
  for (const made of [mailbox.ack([id], NOW_MS + 5), mailbox.retraction([id], NOW_MS + 5)]) {
    expect(expiryOf(made.record)).toBe(NOW_MS + 5);
  }
});

test('a revocation is remembered for ever', () => {
  expect(expiryOf(mailbox.revocation(id, FOREVER_MS).record)).toBe(FOREVER_MS);
});

test('an ack is not made a revocation by another version in its record, nor the reverse', () => {
  for (const made of [mailbox.ack([id], FOREVER_MS), mailbox.revocation(id, FOREVER_MS)]) {
    const changed = Buffer.from(made.record);
    changed[0] = changed[0] === 1 ? 3 : 1;
    expect(openTombstone(changed, TEST_PEPPER)).toEqual({ ok: false, fault: 'bad_signature' });
  }
  expect(mailbox.revocation(id, 0).id).not.toBe(mailbox.ack([id], 0).id);
});

test('what is no tombstone stays none', () => {
  expect(openForeignTombstone(Buffer.of(9), TEST_PEPPER, NOW_MS)).toEqual({ ok: false, fault: 'malformed' });
});
