/** Acks, as a session takes them: what they name, for how long they are remembered, and which are not even looked at. */
import { describe, expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { ackFrame, openSession, SESSION_CONFIG } from '../../test/support/session-driver.ts';

const mailbox = createTestMailbox();

describe('an ack', () => {
  test('is remembered as long as the longest-lived message it names', () => {
    const driver = openSession([mailbox]);
    const short = mailbox.message('short', { expiresMs: 11_000 });
    const long = mailbox.message('long', { expiresMs: 12_000 });
    driver.fetched([short, long]);
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [short.id, long.id]) });
    const bury = driver.take('bury');
    expect(bury?.ack.expiresMs).toBe(12_000);
    expect(bury?.doubtful).toEqual([]);
  });

  test('says which of its messages were not sent on this connection', () => {
    const driver = openSession([mailbox]);
    const sent = mailbox.message('sent');
    const other = mailbox.message('other').id;
    driver.fetched([sent]);
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [sent.id, other]) });
    expect(driver.take('bury')?.doubtful).toEqual([other]);
  });

  test('that names nothing which is on its way is not looked at once there are too many of them', () => {
    const driver = openSession([mailbox], 4, { mayVerifyDoubtful: () => false });
    const sent = mailbox.message('sent');
    const other = mailbox.message('other').id;
    driver.fetched([sent]);
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [other]) });
    expect(driver.take('ack_unread')).toBeDefined();
    expect(driver.take('bury')).toBeUndefined();
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [other, sent.id]) });
    expect(driver.take('bury')?.doubtful).toEqual([other]);
    expect(driver.closed).toEqual([]);
  });

  test('that comes again before it is stored names nothing which is on its way any more', () => {
    let checks = 0;
    const driver = openSession([mailbox], 4, {
      mayVerifyDoubtful: () => {
        checks += 1;
        return checks <= 1;
      },
    });
    const sent = mailbox.message('sent');
    driver.fetched([sent]);
    const frame = ackFrame(0, mailbox, [sent.id]);
    driver.handle({ type: 'binary', bytes: frame });
    expect([checks, driver.take('bury')?.doubtful]).toEqual([0, []]);
    driver.handle({ type: 'binary', bytes: frame });
    expect([checks, driver.take('bury')?.doubtful]).toEqual([1, [sent.id]]);
    driver.handle({ type: 'binary', bytes: frame });
    expect(driver.take('bury')).toBeUndefined();
    expect(driver.session.onTheWay).toBe(1);
  });

  test('of a message that this session never sent is remembered as long as any could live', () => {
    const driver = openSession([mailbox]);
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [mailbox.message('elsewhere').id]) });
    expect(driver.take('bury')?.ack.expiresMs).toBe(driver.wallMs + SESSION_CONFIG.ttlMsMax);
  });

  test('that was not stored closes the session, so that the recipient repeats it elsewhere', () => {
    const driver = openSession([mailbox]);
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [mailbox.message('m').id]) });
    const bury = driver.take('bury');
    if (bury === undefined) throw new Error('no bury');
    driver.handle({ type: 'buried', ack: bury.ack, done: false });
    expect(driver.closed).toEqual(['overloaded']);
  });

  test('with the signature of another key closes the session', () => {
    const driver = openSession([mailbox]);
    driver.handle({
      type: 'binary',
      bytes: ackFrame(0, createTestMailbox(), [mailbox.message('m').id]),
    });
    expect(driver.closed).toEqual(['unauthorised']);
    expect(driver.take('bury')).toBeUndefined();
  });

  test('for a mailbox that was not opened is malformed', () => {
    const driver = openSession([mailbox]);
    driver.handle({ type: 'binary', bytes: ackFrame(1, mailbox, [mailbox.message('m').id]) });
    expect(driver.closed).toEqual(['malformed']);
  });
});
