/** A message that was stored just now reaches a connected recipient without a read of its mailbox. */
import { expect, test } from 'vitest';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import { SessionDriver } from '../../test/support/session-driver.ts';
import type { Message } from './message.ts';

const mailbox: TestMailbox = createTestMailbox();
const first = mailbox.message('first', { acceptedMs: 1 });
const second = mailbox.message('second', { acceptedMs: 2 });
const third = mailbox.message('third', { acceptedMs: 3 });

function store(driver: SessionDriver, message: Message): void {
  driver.handle({ type: 'stored', message });
}

/** A session that has read its mailbox, with `first` in it. */
function caughtUp(window: number): SessionDriver {
  const driver = new SessionDriver();
  driver.open([mailbox], window);
  driver.take('fetch');
  driver.handle({ type: 'fetched', mailbox: 0, messages: [first] });
  expect(driver.take('fetch')).toBe(undefined);
  return driver;
}

test('is sent at once, and only once', () => {
  const driver = caughtUp(4);
  store(driver, second);
  store(driver, second);
  expect(driver.ids).toEqual([first.id, second.id]);
  expect(driver.take('fetch')).toBe(undefined);
});

test('the first of a connection is read, because it may be one that recipients break on', () => {
  const driver = new SessionDriver();
  driver.open([mailbox], 4);
  driver.take('fetch');
  driver.handle({ type: 'fetched', mailbox: 0, messages: [] });
  store(driver, first);
  expect(driver.ids).toEqual([]);
  expect(driver.take('fetch')).toBeDefined();
});

test('while the mailbox is being read it waits for the next read, which comes', () => {
  const driver = caughtUp(4);
  driver.handle({ type: 'changed', tag: mailbox.tag });
  expect(driver.take('fetch')).toBeDefined();
  store(driver, second);
  expect(driver.ids).toEqual([first.id]);
  driver.handle({ type: 'fetched', mailbox: 0, messages: [first] });
  expect(driver.take('fetch')).toBeDefined();
  driver.handle({ type: 'fetched', mailbox: 0, messages: [first, second] });
  expect(driver.ids).toEqual([first.id, second.id]);
});

test('what does not fit into the window is read when there is room', () => {
  const driver = caughtUp(2);
  store(driver, second);
  store(driver, third);
  expect(driver.ids).toEqual([first.id, second.id]);
  const ack = mailbox.ack([first.id], 0);
  driver.handle({ type: 'buried', ack, done: true });
  expect(driver.take('fetch')).toBeDefined();
  driver.handle({ type: 'fetched', mailbox: 0, messages: [second, third] });
  expect(driver.ids).toEqual([first.id, second.id, third.id]);
});

test('of another mailbox it is nothing to this recipient', () => {
  const driver = caughtUp(4);
  store(driver, createTestMailbox().message('other'));
  expect(driver.ids).toEqual([first.id]);
  expect(driver.take('fetch')).toBe(undefined);
});
