/** Retractions: what whoever knows the push URL can make, any site can verify, and no site can make up. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox, TEST_CAPABILITY_ID, TEST_PEPPER } from '../../test/support/mailbox.ts';
import type { MessageId } from './message.ts';
import { commitmentOf, createRetraction, openingOf, RETRACTION_COUNT_AT } from './retraction.ts';
import { openTombstone } from './tombstone.ts';

const mailbox = createTestMailbox();
const EXPIRES_MS = 1_800_000_000_000;
const idOf = (fill: number): MessageId => Buffer.alloc(16, fill).toString('base64url') as MessageId;

test('a retraction opens to what was made, however many messages it names', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(255), { minLength: 1, maxLength: 512 }),
      fc.maxSafeNat(),
      (fills, expiresMs) => {
        const made = mailbox.retraction(fills.map(idOf), expiresMs);
        expect(openTombstone(made.record, TEST_PEPPER)).toEqual({ ok: true, value: made });
      },
    ),
  );
});

test('an ack is a tombstone as well', () => {
  const ack = mailbox.ack([idOf(1)], EXPIRES_MS);
  expect(openTombstone(ack.record, TEST_PEPPER)).toEqual({ ok: true, value: ack });
});

test('what a message carries is met by the opening that its push URL gives, and by no other', () => {
  const message = mailbox.message('m');
  const opening = openingOf(TEST_CAPABILITY_ID, message.id);
  expect(commitmentOf({ id: message.id, opening })).toBe(message.commitment);
  const other = openingOf(Buffer.alloc(16), message.id);
  expect(commitmentOf({ id: message.id, opening: other })).not.toBe(message.commitment);
  // The opening of one message says nothing about another of the same push URL.
  expect(openingOf(TEST_CAPABILITY_ID, idOf(1))).not.toBe(openingOf(TEST_CAPABILITY_ID, idOf(2)));
  expect(commitmentOf({ id: idOf(1), opening })).not.toBe(commitmentOf({ id: idOf(2), opening }));
});

test('a record that names a commitment which its opening does not meet is refused', () => {
  const made = createRetraction(mailbox.tag, [{ id: idOf(1), opening: idOf(2) }], EXPIRES_MS);
  const changed = Buffer.from(made.record);
  const { commitment } = mailbox.message('m', { id: idOf(1) });
  Buffer.from(commitment, 'base64url').copy(changed, RETRACTION_COUNT_AT + 2 + 16);
  expect(openTombstone(changed, TEST_PEPPER)).toEqual({ ok: false, fault: 'bad_signature' });
});

test('with one byte changed it is refused, or means no message that was sent', () => {
  const ids = [idOf(1), idOf(2)];
  const made = mailbox.retraction(ids, EXPIRES_MS);
  const meant = ids.map((id) => mailbox.message('m', { id }).commitment);
  const expiryAt = 1 + 24;
  for (let at = 0; at < made.record.length; at += 1) {
    if (at >= expiryAt && at < expiryAt + 8) continue;
    const changed = Buffer.from(made.record);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const opened = openTombstone(changed, TEST_PEPPER);
    const isOther = opened.ok && opened.value.mailbox !== mailbox.tag;
    expect(!opened.ok || isOther, `byte ${at}`).toBe(true);
  }
  expect(made.commitments).toEqual(meant);
});

test('arbitrary bytes are no tombstone and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(openTombstone(Buffer.concat([Buffer.of(2), bytes]), TEST_PEPPER).ok).toBe(false);
    }),
  );
});
