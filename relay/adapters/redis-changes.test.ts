/** What the relays of a site tell each other, and what becomes of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import type { Message } from '../core/message.ts';
import { type Reference, referenceTo } from '../core/reference.ts';
import {
  changeCommands,
  createForeignChanges,
  passCommand,
  readChanges,
  readPassed,
} from './redis-changes.ts';

const ORIGIN = 'o'.repeat(24);
const mailboxes = Array.from({ length: 3 }, createTestMailbox);
const [mailbox = createTestMailbox()] = mailboxes;

interface Rig {
  readonly hear: (references: readonly Reference[]) => void;
  /** How many were read at once, each time. */
  readonly reads: number[];
  readonly told: (readonly [mailbox: string, id: string | undefined])[];
}

/** `load` gives what it finds, or fails. */
function rig(load: (id: string) => Message | undefined, hasMissedSome = (): boolean => false): Rig {
  const reads: number[] = [];
  const told: (readonly [string, string | undefined])[] = [];
  const hear = createForeignChanges({
    load: async (references) => {
      reads.push(references.length);
      return references.map(({ id }) => load(id));
    },
    isListening: (tag) => tag === mailbox.tag,
    hasMissedSome,
    tell: (tag, what) => void told.push([tag, what?.id]),
  });
  return { hear, reads, told };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('what one relay says is what the others read, however much it is', () => {
  const written = fc.array(
    fc.record({
      mailbox: fc.constantFrom(...mailboxes.map(({ tag }) => tag)),
      id: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((id) => Buffer.from(id).toString('base64url')),
    }),
    { maxLength: 1100 },
  );
  fc.assert(
    fc.property(written, fc.constantFrom('message', 'ack'), (some, kind) => {
      const texts = changeCommands(ORIGIN, kind, some).map(([, , text]) => String(text));
      expect(texts.flatMap(readChanges)).toEqual(some.map((each) => ({ kind, ...each })));
      for (const text of texts) expect(readPassed(text)).toBeUndefined();
    }),
    { numRuns: 20 },
  );
});

test('arbitrary text is nothing that was written, and a message that is passed is whole', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 400 }), (text) => {
      expect(readChanges(text)).toEqual([]);
      expect(readPassed(text)).toBeUndefined();
    }),
  );
  const message = mailbox.message('now or never');
  const text = String(passCommand(ORIGIN, message)[2]);
  expect(readPassed(text)?.id).toBe(message.id);
});

test('what came in one turn is read together, where somebody listens, and told by what it is', async () => {
  const [one, two, gone] = ['one', 'two', 'gone'].map((name) => mailbox.message(name));
  if (one === undefined || two === undefined || gone === undefined) throw new Error('three messages');
  const found = new Map([one, two].map((message) => [message.id as string, message]));
  const { hear, reads, told } = rig((id) => found.get(id));
  const elsewhere = mailboxes[1]?.message('elsewhere') ?? expect.unreachable();
  hear([referenceTo(one), referenceTo(elsewhere)]);
  hear([referenceTo(gone), referenceTo(two)]);
  await turn();
  await turn();
  expect(reads).toEqual([3]);
  // What is not there yet, or not any more, is for a read of the mailbox to find.
  expect(told).toEqual([
    [mailbox.tag, one.id],
    [mailbox.tag, undefined],
    [mailbox.tag, two.id],
  ]);
});

test('while something may have been missed whole mailboxes are read', async () => {
  let hasMissedSome = true;
  const message = mailbox.message('one');
  const { hear, reads, told } = rig(
    () => message,
    () => hasMissedSome,
  );
  hear([referenceTo(message)]);
  expect(told).toEqual([[mailbox.tag, undefined]]);
  hasMissedSome = false;
  hear([referenceTo(message)]);
  await turn();
  await turn();
  expect([reads, told[1]]).toEqual([[1], [mailbox.tag, message.id]]);
});

test('what is too much at once is told without being read, and what comes during a read is read next', async () => {
  const many = Array.from({ length: 300 }, (_, place) => mailbox.message(`${place}`));
  const found = new Map(many.map((message) => [message.id as string, message]));
  const { hear, reads, told } = rig((id) => found.get(id));
  hear(many.map(referenceTo));
  expect(told).toEqual(many.slice(256).map(() => [mailbox.tag, undefined]));
  await turn();
  hear(many.slice(0, 2).map(referenceTo));
  await turn();
  await turn();
  expect(reads).toEqual([256, 2]);
  expect(told).toHaveLength(302);
});

test('what cannot be read is told, so that its mailbox is read in its time', async () => {
  const { hear, told } = rig(() => {
    throw new Error('away');
  });
  hear([referenceTo(mailbox.message('one'))]);
  await turn();
  await turn();
  expect(told).toEqual([[mailbox.tag, undefined]]);
});
