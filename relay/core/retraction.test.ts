/** Retractions: what any relay of the fleet believes, and nobody else can make. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox, TEST_PEPPER } from '../../test/support/mailbox.ts';
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from './ack.ts';
import type { MessageId } from './message.ts';
import { createRetraction, openRetraction } from './retraction.ts';
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
        const made = createRetraction(mailbox.tag, fills.map(idOf), expiresMs, TEST_PEPPER);
        expect(openTombstone(made.record, TEST_PEPPER)).toEqual({ ok: true, value: made });
      },
    ),
  );
});

test('an ack is a tombstone as well', () => {
  const ack = mailbox.ack([idOf(1)], EXPIRES_MS);
  expect(openTombstone(ack.record, TEST_PEPPER)).toEqual({ ok: true, value: ack });
});

test('one made under another pepper, or changed in any byte but those of its expiry, is not believed', () => {
  const made = createRetraction(mailbox.tag, [idOf(1), idOf(2)], EXPIRES_MS, TEST_PEPPER);
  expect(openRetraction(made.record, new Uint8Array(32))).toEqual({ ok: false, fault: 'bad_signature' });
  const expiryAt = 1 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES;
  for (let at = 0; at < made.record.length; at += 1) {
    if (at >= expiryAt && at < expiryAt + 8) continue;
    const changed = Buffer.from(made.record);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(openTombstone(changed, TEST_PEPPER).ok, `byte ${at}`).toBe(false);
  }
});

test('arbitrary bytes are no tombstone and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(openTombstone(Buffer.concat([Buffer.of(2), bytes]), TEST_PEPPER).ok).toBe(false);
    }),
  );
});
