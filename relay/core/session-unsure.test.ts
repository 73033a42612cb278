/** What of the messages just read other sites are asked about, and what a session makes of the answer. */
import { expect, test } from 'vitest';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import { SessionDriver } from '../../test/support/session-driver.ts';
import type { Message } from './message.ts';

const mailbox: TestMailbox = createTestMailbox();
const one = mailbox.message('one', { acceptedMs: 1 });
const two = mailbox.message('two', { acceptedMs: 2 });
const three = mailbox.message('three', { acceptedMs: 3 });

/** An open session with a window of 2, whose first fetch waits for its answer. */
function opened(): SessionDriver {
  const driver = new SessionDriver();
  driver.open([mailbox], 2);
  return driver;
}

function fetched(driver: SessionDriver, ...messages: readonly Message[]): void {
  driver.handle({ type: 'fetched', mailbox: 0, messages });
}

function buried(driver: SessionDriver, ...messages: readonly Message[]): void {
  const ids = messages.map(({ id }) => id);
  driver.handle({ type: 'buried', ack: mailbox.ack(ids, 60_000), done: true });
}

test('it is all that is read, until the mailbox was read to its end once', () => {
  const driver = opened();
  expect(driver.session.unsure(0, [one, two])).toEqual([one, two]);
  fetched(driver, one, two);
  buried(driver, one);
  // What is on its way was asked about before.
  expect(driver.session.unsure(0, [two, three])).toEqual([three]);
  fetched(driver, two, three);
  buried(driver, two, three);
  fetched(driver);
  expect(driver.said('empty')).toBe(1);
  expect(driver.session.unsure(0, [mailbox.message('four')])).toEqual([]);
});

test('what is heard of during the read is left out, and does not make the mailbox look read to its end', () => {
  const driver = opened();
  buried(driver, one, two);
  fetched(driver, one, two);
  expect([driver.ids, driver.said('empty')]).toEqual([[], 0]);
  expect(driver.session.unsure(0, [three])).toEqual([three]);
  fetched(driver, three);
  expect([driver.ids, driver.said('empty')]).toEqual([[three.id], 1]);
});

test('of a mailbox that nobody opened it is nothing', () => {
  expect(opened().session.unsure(1, [one])).toEqual([]);
});
