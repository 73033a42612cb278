/**
 * A recipient for tests: a mailbox with a real key pair, messages for it and acks that it signed.
 */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createAck, type SignedAck } from '../../relay/core/ack.ts';
import { type MailboxTag, mailboxIdOf, mailboxTagOf } from '../../relay/core/mailbox.ts';
import { createMessage, type Message, type MessageFields, type MessageId } from '../../relay/core/message.ts';
import { commitmentOf, createRetraction, openingOf } from '../../relay/core/retraction.ts';

export const TEST_PEPPER: Uint8Array = new Uint8Array(32).fill(7);
/** The id of the push URL through which the messages of test mailboxes come. */
export const TEST_CAPABILITY_ID: Uint8Array = new Uint8Array(16).fill(5);

export interface TestMailbox {
  readonly tag: MailboxTag;
  /** A message whose id follows from `name`. */
  message(name: string, fields?: Partial<MessageFields>): Message;
  ack(ids: readonly MessageId[], expiresMs: number): SignedAck;
  /** The owner's word that the push URL with this id is no good any more. */
  revocation(id: MessageId, expiresMs: number): SignedAck;
  /** What whoever knows the push URL retracts these messages with. */
  retraction(ids: readonly MessageId[], expiresMs: number): SignedAck;
}

const opened = (id: MessageId): { readonly id: MessageId; readonly opening: string } => ({
  id,
  opening: openingOf(TEST_CAPABILITY_ID, id),
});

export function createTestMailbox(): TestMailbox {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const rawKey = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const tag = mailboxTagOf(mailboxIdOf(rawKey), TEST_PEPPER);
  const sealed = (
    line: string,
    ids: readonly MessageId[],
    expiresMs: number,
    word: 'ack' | 'revocation',
  ): SignedAck => {
    const idBytes = Buffer.concat(ids.map((id) => Buffer.from(id, 'base64url')));
    const signed = Buffer.concat([Buffer.from(line, 'latin1'), idBytes]);
    const ack = createAck(rawKey, sign(null, signed, privateKey), idBytes, expiresMs, TEST_PEPPER, word);
    if (!ack.ok) throw new Error(ack.fault);
    return ack.value;
  };
  return {
    tag,
    message: (name, fields = {}) => {
      const id =
        fields.id ?? (createHash('sha256').update(name).digest().toString('base64url', 0, 16) as MessageId);
      return createMessage({
        id,
        mailbox: tag,
        acceptedMs: 1_000,
        expiresMs: 100_000,
        commitment: commitmentOf(opened(id)),
        urgency: 'normal',
        topic: '',
        coding: 'aes128gcm',
        body: Buffer.from(name),
        ...fields,
      });
    },
    retraction: (ids, expiresMs) => createRetraction(tag, ids.map(opened), expiresMs),
    ack: (ids, expiresMs) => sealed('archipelago ack v1\n', ids, expiresMs, 'ack'),
    revocation: (id, expiresMs) => sealed('archipelago revoke v1\n', [id], expiresMs, 'revocation'),
  };
}
