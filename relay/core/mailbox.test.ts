/** Names of mailboxes. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mailboxIdOf, mailboxTagOf, PARTITIONS, parseMailboxTag, partitionOf } from './mailbox.ts';

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
const pepper = new Uint8Array(32).fill(9);

test('a mailbox id is the SHA-256 of the public key', () => {
  const key = new Uint8Array(32).fill(1);
  expect(mailboxIdOf(key)).toBe(createHash('sha256').update(key).digest('base64url'));
});

test('the partition of a tag is the mailbox id mod 256, whatever the pepper', () => {
  fc.assert(
    fc.property(keys, keys, (key, otherPepper) => {
      const id = mailboxIdOf(key);
      const last = Buffer.from(id, 'base64url')[31] ?? 0;
      expect(partitionOf(mailboxTagOf(id, pepper))).toBe(PARTITIONS[last]);
      expect(partitionOf(mailboxTagOf(id, otherPepper))).toBe(PARTITIONS[last]);
    }),
  );
});

test('a tag depends on the pepper and tells nothing of the id but the partition', () => {
  const id = mailboxIdOf(new Uint8Array(32).fill(1));
  expect(mailboxTagOf(id, pepper)).not.toBe(mailboxTagOf(id, new Uint8Array(32)));
  expect(id).not.toContain(mailboxTagOf(id, pepper).slice(2));
});

test('every tag parses as itself, and nothing else parses', () => {
  fc.assert(
    fc.property(keys, (key) => {
      const tag = mailboxTagOf(mailboxIdOf(key), pepper);
      expect(parseMailboxTag(tag)).toBe(tag);
    }),
  );
  for (const text of ['', '00', `0g${'A'.repeat(22)}`, `00${'A'.repeat(23)}`, `00${'A'.repeat(21)}}`]) {
    expect(parseMailboxTag(text)).toBeUndefined();
  }
});
