/** One recipient's session, from the welcome to the close, rule by rule. */
import { describe, expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { ackFrame, openSession, SESSION_CONFIG, SessionDriver } from '../../test/support/session-driver.ts';
import { createDeliveryLoops, type DeliveryLoops, HEADS_MAX } from './delivery-loops.ts';
import type { Message } from './message.ts';
import { TICK_MS } from './session.ts';

const mailbox = createTestMailbox();

function messages(count: number, from = 0): Message[] {
  return Array.from({ length: count }, (_, index) =>
    mailbox.message(`m${from + index}`, { acceptedMs: 1000 + from + index }),
  );
}

function idsOf(list: readonly Message[]): readonly string[] {
  return list.map(({ id }) => id);
}

/** Sends an ack frame and answers the bury that follows. */
function ack(driver: SessionDriver, list: readonly Message[]): void {
  driver.handle({
    type: 'binary',
    bytes: ackFrame(
      0,
      mailbox,
      list.map(({ id }) => id),
    ),
  });
  const bury = driver.take('bury');
  if (bury === undefined) throw new Error(`no bury, closed: ${driver.closed.join()}`);
  driver.handle({ type: 'buried', ack: bury.ack, done: true });
}

describe('the opening', () => {
  test('goes from welcome over hello and proof to ready, and listens before it reads', () => {
    const driver = new SessionDriver();
    expect(driver.heard).toEqual([
      {
        t: 'welcome',
        site: 'aws',
        audience: SESSION_CONFIG.audience,
        heartbeatMs: SESSION_CONFIG.heartbeatMs,
      },
    ]);
    driver.open([mailbox], 4);
    expect(driver.take('verify')).toEqual({ type: 'verify', tokens: ['t'] });
    expect(driver.said('ready')).toBe(1);
    expect(driver.asked.map(({ type }) => type)).toEqual(['open', 'fetch']);
    expect(driver.take('open')).toEqual({ type: 'open', tags: [mailbox.tag] });
    expect(driver.take('fetch')).toEqual({ type: 'fetch', mailbox: 0, tag: mailbox.tag, limit: 4 });
  });

  test('a recipient that says no hello in time is closed', () => {
    const driver = new SessionDriver();
    expect(driver.tick(SESSION_CONFIG.helloWithinMs)).toEqual([]);
    expect(driver.tick(1)).toEqual([{ type: 'close', reason: 'timeout' }]);
  });

  test('a token that is not valid closes the session', () => {
    const driver = new SessionDriver();
    driver.handle({ type: 'text', text: JSON.stringify({ t: 'hello', tokens: ['t'], window: 4 }) });
    driver.handle({ type: 'verified', mailboxes: undefined });
    expect(driver.closed).toEqual(['unauthorised']);
  });

  test('a second hello is malformed, whether the first was verified or not', () => {
    const hello = { type: 'text', text: JSON.stringify({ t: 'hello', tokens: ['t'], window: 4 }) } as const;
    const early = new SessionDriver();
    early.handle(hello);
    early.handle(hello);
    const late = openSession([mailbox]);
    late.handle(hello);
    expect([early.closed, late.closed]).toEqual([['malformed'], ['malformed']]);
  });

  test('nothing is read or sent before the mailboxes are proved', () => {
    const driver = new SessionDriver();
    driver.handle({ type: 'changed', tag: mailbox.tag });
    driver.handle({ type: 'transient', message: mailbox.message('now') });
    driver.handle({ type: 'binary', bytes: ackFrame(0, mailbox, [mailbox.message('m').id]) });
    expect(driver.asked).toEqual([]);
    expect(driver.ids).toEqual([]);
    expect(driver.closed).toEqual(['malformed']);
  });
});

describe('delivery', () => {
  test('sends no more than the window, and goes on as acks make room', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(6);
    driver.fetched(all.slice(0, 4));
    expect(driver.ids).toEqual(idsOf(all.slice(0, 4)));
    expect(driver.said('empty')).toBe(0);
    driver.take('fetch');
    ack(driver, all.slice(0, 2));
    expect(driver.take('fetch')).toMatchObject({ limit: 4 });
    driver.fetched(all.slice(2, 6));
    expect(driver.ids).toEqual(idsOf(all));
  });

  test('a fetch again leaves out what is on the way', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(3);
    driver.fetched(all.slice(0, 2));
    driver.handle({ type: 'changed', tag: mailbox.tag });
    driver.fetched(all);
    expect(driver.ids).toEqual(idsOf(all));
  });

  test('a message that sorts before those on the way is found like any other', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(3);
    driver.fetched(all.slice(1));
    driver.handle({ type: 'changed', tag: mailbox.tag });
    driver.fetched(all);
    expect(driver.ids).toEqual(idsOf([...all.slice(1), ...all.slice(0, 1)]));
  });

  test('a message acked while a fetch was under way is not sent again', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(2);
    driver.fetched(all);
    driver.handle({ type: 'changed', tag: mailbox.tag });
    ack(driver, all);
    driver.fetched(all);
    expect(driver.ids).toEqual(idsOf(all));
  });

  test('"empty" is said once, and only when nothing is left to send', () => {
    const driver = openSession([mailbox], 2);
    const all = messages(3);
    driver.fetched(all.slice(0, 2));
    expect(driver.said('empty')).toBe(0);
    ack(driver, all.slice(0, 2));
    driver.fetched(all.slice(2));
    expect(driver.said('empty')).toBe(1);
    driver.handle({ type: 'changed', tag: mailbox.tag });
    driver.fetched(all.slice(2));
    expect(driver.said('empty')).toBe(1);
  });

  test('a full page of which some was acked meanwhile may hide more, so it is followed by another', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(8);
    driver.fetched(all.slice(0, 2));
    driver.take('fetch');
    driver.handle({ type: 'changed', tag: mailbox.tag });
    expect(driver.take('fetch')).toMatchObject({ limit: 4 });
    ack(driver, all.slice(0, 2));
    // Read before the ack: two that are gone now, and two new ones; four more lie behind.
    driver.fetched(all.slice(0, 4));
    expect(driver.take('fetch')).toMatchObject({ limit: 4 });
  });

  test('what another connection acked gives its place in the window back, even when the window is full', () => {
    const driver = openSession([mailbox], 4);
    const all = messages(6);
    driver.fetched(all.slice(0, 4));
    driver.asked.length = 0;
    driver.handle({ type: 'changed', tag: mailbox.tag });
    driver.tick(500);
    expect(driver.take('fetch')).toMatchObject({ limit: 4 });
    driver.fetched(all.slice(4));
    expect(driver.ids).toEqual(idsOf(all));
  });

  test('a full window is looked at again no more often than the session ticks', () => {
    const driver = openSession([mailbox], 4);
    driver.fetched(messages(4));
    driver.asked.length = 0;
    for (let changes = 0; changes < 50; changes += 1) driver.handle({ type: 'changed', tag: mailbox.tag });
    expect(driver.asked).toEqual([]);
    driver.tick(500);
    expect(driver.take('fetch')).toBeDefined();
    driver.fetched(messages(4));
    driver.tick(500);
    expect(driver.asked).toEqual([]);
  });

  test('the same mailbox named twice does not make the session read for ever', () => {
    const driver = openSession([mailbox, mailbox], 4);
    const all = messages(8);
    driver.fetched(all.slice(0, 3), 0);
    for (let reads = 0; reads < 20; reads += 1) {
      const fetch = driver.take('fetch');
      if (fetch === undefined) break;
      driver.fetched(all.slice(0, fetch.limit), fetch.mailbox);
    }
    expect(driver.asked).not.toContainEqual(expect.objectContaining({ type: 'fetch' }));
    expect(driver.ids).toEqual(idsOf(all.slice(0, 4)));
  });

  test('a backlog of large messages goes out in steps that a socket can hold', () => {
    const driver = openSession([mailbox], 256);
    const large = Array.from({ length: 64 }, (_, index) =>
      mailbox.message(`large${index}`, { body: Buffer.alloc(65_536) }),
    );
    const steps: number[] = [];
    for (let fetch = driver.take('fetch'); fetch !== undefined; fetch = driver.take('fetch')) {
      const before = driver.ids.length;
      driver.fetched(large.slice(0, fetch.limit));
      steps.push(driver.ids.length - before);
      if (driver.said('empty') > 0) break;
    }
    expect(driver.ids).toEqual(idsOf(large));
    expect(Math.max(...steps)).toBeLessThanOrEqual(17);
  });

  test('a little room waits for more, but no longer than until the next tick', () => {
    const driver = openSession([mailbox], 8);
    const all = messages(9);
    driver.fetched(all.slice(0, 8));
    driver.asked.length = 0;
    ack(driver, all.slice(0, 1));
    expect(driver.take('fetch')).toBeUndefined();
    driver.tick(500);
    expect(driver.take('fetch')).toMatchObject({ limit: 8 });
    driver.fetched(all.slice(1));
    expect(driver.ids).toEqual(idsOf(all));
  });

  test('a store that is away costs nothing but time', () => {
    const driver = openSession([mailbox], 4);
    driver.take('fetch');
    driver.fetched(undefined);
    expect(driver.closed).toEqual([]);
    driver.handle({ type: 'text', text: '{"t":"beat"}' });
    driver.tick(SESSION_CONFIG.heartbeatMs);
    expect(driver.take('fetch')).toBeDefined();
  });

  test('a lost wake-up costs no more than the time to look again', () => {
    const driver = openSession([mailbox], 4);
    driver.take('fetch');
    driver.fetched([]);
    for (let passedMs = 0; passedMs < SESSION_CONFIG.lookAgainMs; passedMs += 5000) {
      expect(driver.take('fetch')).toBeUndefined();
      driver.handle({ type: 'text', text: '{"t":"beat"}' });
      driver.tick(5000);
    }
    expect(driver.take('fetch')).toBeDefined();
  });

  test('a message that is not stored goes out at once, but not beyond the window', () => {
    const driver = openSession([mailbox], 1);
    driver.fetched([]);
    expect(driver.handle({ type: 'transient', message: mailbox.message('now') })).toContainEqual({
      type: 'delivered',
      count: 1,
    });
    expect(driver.handle({ type: 'transient', message: mailbox.message('later') })).toEqual([]);
    expect(driver.session.onTheWay).toBe(1);
  });

  test('nothing of one mailbox goes to another', () => {
    const other = createTestMailbox();
    const driver = openSession([mailbox, other], 4);
    driver.fetched(messages(1), 0);
    driver.fetched([other.message('x')], 1);
    expect(driver.heard.slice(2).filter((frame) => 'id' in frame)).toEqual([
      { id: messages(1)[0]?.id, mailbox: 0 },
      { id: other.message('x').id, mailbox: 1 },
    ]);
    driver.handle({ type: 'transient', message: createTestMailbox().message('foreign') });
    expect(driver.ids).toHaveLength(2);
  });
});

describe('the heartbeat', () => {
  test('is sent at the last tick before its time is over, unless something else was', () => {
    const driver = openSession([mailbox], 4);
    const idleMs = SESSION_CONFIG.heartbeatMs - TICK_MS;
    expect(driver.tick(idleMs)).toEqual([]);
    expect(driver.tick(1)).toEqual([{ type: 'send', frame: { t: 'beat' } }]);
    expect(driver.tick(idleMs)).toEqual([]);
  });

  test('a recipient that is silent for three of them is closed, and one that answers is not', () => {
    const driver = openSession([mailbox], 4);
    for (let beats = 0; beats < 10; beats += 1) {
      driver.tick(SESSION_CONFIG.heartbeatMs);
      driver.handle({ type: 'text', text: '{"t":"beat"}' });
    }
    expect(driver.closed).toEqual([]);
    driver.tick(3 * SESSION_CONFIG.heartbeatMs);
    expect(driver.closed).toEqual([]);
    driver.tick(1);
    expect(driver.closed).toEqual(['timeout']);
  });
});

test('a session closes once, and after that does nothing more', () => {
  const driver = openSession([mailbox], 4);
  driver.handle({ type: 'text', text: 'rubbish' });
  driver.handle({ type: 'binary', bytes: Buffer.of(9) });
  driver.handle({ type: 'draining', withinMs: 0, alternates: [] });
  driver.fetched(messages(2));
  driver.tick(1e9);
  expect(driver.closed).toEqual(['malformed']);
  expect(driver.ids).toEqual([]);
});

describe('a relay that drains', () => {
  const draining = { type: 'draining', withinMs: 700, alternates: ['https://gcp.relay.test'] } as const;

  test('says when and where to go, delivers until then, and closes then', () => {
    const driver = openSession([mailbox], 4);
    driver.handle(draining);
    expect(driver.heard.at(-1)).toEqual({ t: 'drain', withinMs: 700, alternates: draining.alternates });
    driver.fetched(messages(1));
    expect(driver.ids).toHaveLength(1);
    driver.tick(699);
    expect(driver.closed).toEqual([]);
    driver.tick(1);
    expect(driver.closed).toEqual(['draining']);
  });

  test('closes at once who has not proved a mailbox', () => {
    const driver = new SessionDriver();
    driver.handle(draining);
    expect(driver.said('drain')).toBe(0);
    expect(driver.closed).toEqual(['draining']);
  });
});

describe('a message on which recipients break', () => {
  const all = messages(3);
  const [bad, ...good] = idsOf(all);

  /** Connects once more, gets everything that waits, and leaves without an ack. */
  function connectAgain(loops: DeliveryLoops): SessionDriver {
    const driver = new SessionDriver({}, loops);
    driver.open([mailbox], 4);
    driver.take('fetch');
    driver.fetched(all);
    return driver;
  }

  test('is sent last, and only once everything else is acked', () => {
    const loops = createDeliveryLoops();
    for (let round = 0; round < HEADS_MAX; round += 1)
      expect(connectAgain(loops).ids).toEqual([bad, ...good]);
    const driver = connectAgain(loops);
    expect(driver.ids).toEqual(good);
    expect(driver.take('held_back')).toBeDefined();
    expect(driver.said('empty')).toBe(0);
    expect(driver.take('fetch')).toBeUndefined();
    ack(driver, all.slice(1, 2));
    expect(driver.take('fetch')).toBeUndefined();
    ack(driver, all.slice(2));
    expect(driver.take('fetch')).toBeDefined();
    driver.fetched(all.slice(0, 1));
    expect(driver.ids).toEqual([...good, bad]);
    expect(driver.said('empty')).toBe(1);
  });

  test('does not take the place of others in what is read', () => {
    const loops = createDeliveryLoops();
    for (let round = 0; round <= HEADS_MAX; round += 1) connectAgain(loops);
    const driver = new SessionDriver({}, loops);
    driver.open([mailbox], 1);
    expect(driver.take('fetch')).toMatchObject({ limit: 2 });
    driver.fetched(all.slice(0, 2));
    expect(driver.ids).toEqual(good.slice(0, 1));
  });

  test('is like any other again once it was acked', () => {
    const loops = createDeliveryLoops();
    for (let round = 0; round <= HEADS_MAX; round += 1) connectAgain(loops);
    const driver = connectAgain(loops);
    ack(driver, all);
    expect(loops.heldBack(mailbox.tag)).toEqual([]);
    expect(connectAgain(loops).ids).toEqual([bad, ...good]);
  });
});
