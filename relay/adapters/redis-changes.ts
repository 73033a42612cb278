/**
 * What the relays of a site tell each other through Redis (publish and subscribe): what they have written, by name, and
 * messages that are not stored. It may be lost; a recipient's mailbox is read again from time to time in any case.
 *
 * A relay reads what another one wrote only where somebody listens to the mailbox, and by name: to read the head of the
 * mailbox instead, with everything that is not acked yet, cost more than all the rest of a message.
 */
import type { SignedAck } from '../core/ack.ts';
import { type MailboxTag, parseMailboxTag } from '../core/mailbox.ts';
import { type Message, openMessage } from '../core/message.ts';
import type { Reference } from '../core/reference.ts';
import type { MessageStore } from '../ports.ts';
import type { RedisCommand } from './redis-connection.ts';
import { TAG_LENGTH } from './redis-records.ts';

/**
 * On it a text says who speaks, as long as a tag, and then the kind, the tag and the id of each thing that was written, one
 * after the other; or `PASSED` and the record of a message that is not stored, as base64.
 */
export const CHANNEL = 'changed';
const PASSED = '!';
const LETTERS = { message: 'm', ack: 'a' } as const;
const ID_LENGTH = 22;
const NAME_LENGTH: number = 1 + TAG_LENGTH + ID_LENGTH;
/** Things that one text names. */
const NAMES_MAX = 512;
/** Things that are read at once: of the largest messages 16 MiB. */
const READ_MAX = 256;

/** Says what was written, or may have been: of some of it nobody knows yet. */
export function changeCommands(
  origin: string,
  kind: Reference['kind'],
  written: readonly Pick<Reference, 'mailbox' | 'id'>[],
): readonly RedisCommand[] {
  const commands: RedisCommand[] = [];
  for (let at = 0; at < written.length; at += NAMES_MAX) {
    let text = origin;
    for (const { mailbox, id } of written.slice(at, at + NAMES_MAX)) text += LETTERS[kind] + mailbox + id;
    commands.push(['PUBLISH', CHANNEL, text]);
  }
  return commands;
}

/** Passes a message that is not stored to the relays that listen; Redis keeps nothing of it. */
export function passCommand(origin: string, { record }: Message): RedisCommand {
  return ['PUBLISH', CHANNEL, `${origin}${PASSED}${Buffer.from(record).toString('base64')}`];
}

/** The message that somebody passed, if that is what was heard. */
export function readPassed(text: string): Message | undefined {
  if (text[TAG_LENGTH] !== PASSED) return undefined;
  const opened = openMessage(Buffer.from(text.slice(TAG_LENGTH + PASSED.length), 'base64'));
  return opened.ok ? opened.value : undefined;
}

/** What somebody says that it has written; what cannot be read is left out. */
export function readChanges(text: string): readonly Reference[] {
  const references: Reference[] = [];
  for (let at = TAG_LENGTH; at + NAME_LENGTH <= text.length; at += NAME_LENGTH) {
    const mailbox = parseMailboxTag(text.slice(at + 1, at + 1 + TAG_LENGTH));
    const id = text.slice(at + 1 + TAG_LENGTH, at + NAME_LENGTH);
    const kind = text[at] === LETTERS.message ? 'message' : 'ack';
    if (mailbox !== undefined && /^[A-Za-z0-9_-]+$/.test(id)) references.push({ kind, mailbox, id });
  }
  return references;
}

export interface ChangesDeps {
  readonly load: MessageStore['load'];
  readonly isListening: (mailbox: MailboxTag) => boolean;
  /** Whether something may have been said lately that was not heard: then who hears of a mailbox reads all of it. */
  readonly hasMissedSome: () => boolean;
  readonly tell: (mailbox: MailboxTag, what?: Message | SignedAck) => void;
}

/**
 * Gives what is to be called with what other relays have written: it is read, as far as somebody listens, and told. What is
 * not there, not yet or not any more, cannot be read now, or is too much at once, is told without saying what it is.
 */
export function createForeignChanges({
  load,
  isListening,
  hasMissedSome,
  tell,
}: ChangesDeps): (references: readonly Reference[]) => void {
  let waiting: Reference[] = [];
  let isReading = false;
  const read = async (): Promise<void> => {
    const references = waiting;
    waiting = [];
    const found = await load(references).catch(() => undefined);
    isReading = waiting.length > 0;
    if (isReading) void read();
    references.forEach(({ mailbox }, place) => tell(mailbox, found?.[place]));
  };
  return (references) => {
    const hasGap = hasMissedSome();
    for (const reference of references) {
      if (!isListening(reference.mailbox)) continue;
      if (waiting.length >= READ_MAX || hasGap) tell(reference.mailbox);
      else waiting.push(reference);
    }
    if (isReading || waiting.length === 0) return;
    isReading = true;
    // What comes in one turn of the event loop, and while something is read, is read together.
    setImmediate(() => void read());
  };
}
