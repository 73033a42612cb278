/**
 * What is owed to a site that left the fleet goes, and is counted; what is owed to the others stays.
 */
import { expect, test } from 'vitest';
import { createFakeClock } from '../../test/support/fake-clock.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { createRecordedEvents } from '../../test/support/recorded-events.ts';
import { createMemoryStore } from '../adapters/memory-store.ts';
import type { MessageStore } from '../ports.ts';
import { createDeparted } from './departed.ts';

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

function setUp() {
  const clock = createFakeClock();
  const store = createMemoryStore();
  const events = createRecordedEvents();
  const sites = [{ name: 'aws' }, { name: 'gcp' }];
  /** Happens after each look at what is owed. */
  let afterLook = async (): Promise<void> => undefined;
  const owed: MessageStore['owed'] = async (...asked) => {
    const found = await store.owed(...asked);
    await afterLook();
    return found;
  };
  const departed = createDeparted({ store: { ...store, owed }, sites, clock, events, log });
  const stopping = new AbortController();
  const running = departed.run(stopping.signal);
  const mailbox = createTestMailbox();
  const insert = async (name: string): Promise<void> => {
    const message = mailbox.message(name, { expiresMs: clock.wallMs() + 3_600_000 });
    await store.insert([{ message, owedTo: ['gcp', 'hetzner'] }], clock.wallMs());
  };
  const debts = async (): Promise<readonly number[]> =>
    [...(await store.debts(['gcp', 'hetzner'])).values()].map(({ count }) => count);
  const stop = async (): Promise<void> => {
    stopping.abort(new Error('stopping'));
    await clock.settle();
    await running;
  };
  const onLook = (then: () => Promise<void>): void => {
    afterLook = then;
  };
  return { clock, events, sites, departed, insert, debts, stop, onLook };
}

test('debts to a site that left are dropped, also those that are made a little later', async () => {
  const { clock, events, departed, insert, debts, stop } = setUp();
  for (let count = 0; count < 3; count += 1) await insert(`early ${count}`);
  expect(await debts()).toStrictEqual([3, 3]);
  departed.add(['hetzner']);
  await clock.advance(1100);
  expect(await debts()).toStrictEqual([3, 0]);
  await insert('by a relay that has not heard yet');
  await clock.advance(1100);
  expect(await debts()).toStrictEqual([4, 0]);
  expect(events.happened).toStrictEqual(['debtsDropped hetzner 3', 'debtsDropped hetzner 1']);
  await stop();
});

test('a site that comes back is owed to again', async () => {
  const { clock, sites, departed, insert, debts, stop } = setUp();
  departed.add(['hetzner']);
  await clock.advance(1100);
  sites.push({ name: 'hetzner' });
  await clock.advance(1100);
  await insert('for it, too');
  await clock.advance(5000);
  expect(await debts()).toStrictEqual([1, 1]);
  await stop();
});

test('a site that comes back while its old debts are dropped loses none that are made from then on', async () => {
  const { clock, sites, departed, insert, debts, stop, onLook } = setUp();
  await insert('of its former life');
  departed.add(['hetzner']);
  let count = 0;
  onLook(async () => {
    if (count === 0) sites.push({ name: 'hetzner' });
    count += 1;
    if (count < 20) await insert(`for it, too: ${count}`);
  });
  await clock.advance(1100);
  onLook(async () => undefined);
  await clock.advance(5000);
  expect(count).toBe(1);
  expect((await debts())[1]).toBe(2);
  await stop();
});
