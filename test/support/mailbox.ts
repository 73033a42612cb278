/**
 * A recipient for tests: a mailbox with a real key pair, messages for it and acks that it signed.
 */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createAck, type SignedAck } from '../../relay/core/ack.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from '../../relay/core/mailbox.ts';
import { createMessage, type Message, type MessageFields, type MessageId } from '../../relay/core/message.ts';

export const TEST_PEPPER: Uint8Array = new Uint8Array(32).fill(7);

export interface TestMailbox {
  readonly tag: MailboxTag;
  /** A message whose id follows from `name`. */
  message(name: string, fields?: Partial<MessageFields>): Message;
  ack(ids: readonly MessageId[], expiresMs: number): SignedAck;
}

export function createTestMailbox(): TestMailbox {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const rawKey = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const tag = mailboxTagOf(mailboxIdOf(rawKey), TEST_PEPPER);
  return {
    tag,
    message: (name, fields = {}) =>
      createMessage({
        id: createHash('sha256').update(name).digest().toString('base64url', 0, 16) as MessageId,
        mailbox: tag,
        acceptedMs: 1_000,
        expiresMs: 100_000,
        urgency: 'normal',
        topic: '',
        coding: 'aes128gcm',
        body: Buffer.from(name),
        ...fields,
      }),
    ack: (ids, expiresMs) => {
      const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
      const signed = Buffer.concat([Buffer.from('archipelago ack v1\n', 'latin1'), idBytes]);
      const ack = createAck(rawKey, sign(null, signed, privateKey), idBytes, expiresMs, TEST_PEPPER);
      if (!ack.ok) throw new Error(ack.fault);
      return ack.value;
    },
  };
}
