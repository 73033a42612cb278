/** A full window, of which another connection acks what is on the way. */
import { expect, test } from 'vitest';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import { SessionDriver } from '../../test/support/session-driver.ts';

const mailbox: TestMailbox = createTestMailbox();
const late = mailbox.message('late', { acceptedMs: 1 });
const later = mailbox.message('later', { acceptedMs: 2 });
const sent = mailbox.message('sent', { acceptedMs: 3 });

test('has room again also when what came late sorts before all that was on the way', () => {
  const driver = new SessionDriver();
  driver.open([mailbox], 1);
  driver.handle({ type: 'fetched', mailbox: 0, messages: [sent] });
  driver.asked.length = 0;
  // It is acked elsewhere, and two come that another site had accepted before it.
  driver.handle({ type: 'changed', tag: mailbox.tag });
  for (const limit of [1, 2, 3]) {
    driver.tick(500);
    expect(driver.take('fetch')).toMatchObject({ limit });
    driver.handle({ type: 'fetched', mailbox: 0, messages: [late, later].slice(0, limit) });
  }
  expect(driver.ids).toEqual([sent.id, late.id]);
  driver.tick(500);
  expect(driver.take('fetch')).toBeUndefined();
});

test('is not looked at again when what came late sorts before what is still on the way', () => {
  const driver = new SessionDriver();
  driver.open([mailbox], 1);
  driver.handle({ type: 'fetched', mailbox: 0, messages: [sent] });
  driver.asked.length = 0;
  driver.handle({ type: 'changed', tag: mailbox.tag });
  driver.tick(500);
  driver.take('fetch');
  driver.handle({ type: 'fetched', mailbox: 0, messages: [late] });
  driver.tick(500);
  expect(driver.take('fetch')).toMatchObject({ limit: 2 });
  driver.handle({ type: 'fetched', mailbox: 0, messages: [late, sent] });
  driver.tick(500);
  expect(driver.take('fetch')).toBeUndefined();
  expect(driver.ids).toEqual([sent.id]);
});
