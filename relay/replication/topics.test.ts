/** Of one topic only the newest message waits, at every site, in whichever order they came there. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, TEST_CAPABILITY_ID } from '../../test/support/mailbox.ts';
import { createRecordedEvents } from '../../test/support/recorded-events.ts';
import { createMemoryStore } from '../adapters/memory-store.ts';
import type { Message, MessageFields } from '../core/message.ts';
import { createTopics } from './topics.ts';

const NAMES = ['aws', 'gcp', 'hetzner'];
const mailbox = createTestMailbox();
let fleet: LinkedSites;

beforeEach(async () => {
  fleet = linkSites(NAMES);
  await fleet.clock.advance(5000);
});

afterEach(() => fleet[Symbol.asyncDispose]());

function message(name: string, topic: string, fields: Partial<MessageFields> = {}): Message {
  const acceptedMs = fleet.clock.wallMs();
  return mailbox.message(name, { acceptedMs, expiresMs: acceptedMs + 3_600_000, topic, ...fields });
}

async function accept(site: string, sent: Message): Promise<void> {
  const { acceptor, topics } = fleet.site(site).replication;
  const accepted = acceptor.accept(sent);
  await fleet.clock.advance(fleet.deadlineMs);
  expect(await accepted).toBe('accepted');
  await topics.sent(sent, TEST_CAPABILITY_ID);
}

async function expectEverywhere(...messages: readonly Message[]): Promise<void> {
  const ids = messages.map(({ id }) => id);
  for (const name of NAMES) expect(await fleet.site(name).pending(mailbox.tag), name).toEqual(ids);
}

test('the newer one replaces the older one, and no other topic and nothing without one', async () => {
  const [other, none] = [message('other', 'b'), message('none', '')];
  for (const sent of [other, none, message('older', 'a')]) await accept('aws', sent);
  const newer = message('newer', 'a');
  await accept('gcp', newer);
  await fleet.clock.advance(5000);
  const inOrder = [other, none].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const name of NAMES) {
    const ids = await fleet.site(name).pending(mailbox.tag);
    expect(new Set(ids), name).toEqual(new Set([...inOrder, newer].map(({ id }) => id)));
  }
});

test('an older one that comes later to a site is replaced there as well', async () => {
  fleet.around('hetzner', 'cut');
  const older = message('older', 'a');
  await accept('aws', older);
  await fleet.clock.advance(1000);
  const newer = message('newer', 'a');
  fleet.around('hetzner', 'whole');
  fleet.around('aws', 'cut');
  // hetzner and gcp hold the newer one; gcp alone held the older one beside aws.
  await accept('hetzner', newer);
  fleet.around('aws', 'whole');
  await fleet.clock.advance(20_000);
  await expectEverywhere(newer);
});

test('when the store is away the newer one is accepted all the same, and it is counted', async () => {
  await fleet.site('aws').store.close();
  await accept('aws', message('newer', 'a'));
  expect(fleet.site('aws').events.happened).toContain('topicKept');
});

test('a message of another push URL is not replaced, whatever topic another site says it has', async () => {
  const foreign = message('foreign', 'a', { commitment: Buffer.alloc(16).toString('base64url') });
  await accept('aws', foreign);
  const newer = message('newer', 'a');
  await accept('aws', newer);
  await expectEverywhere(foreign, newer);
});

test('a date that another site made up replaces nothing', async () => {
  const sent = message('sent', 'a');
  await accept('aws', sent);
  const acceptedMs = sent.acceptedMs + 1000;
  const later = mailbox.message('later', { acceptedMs, expiresMs: sent.expiresMs, topic: 'a' });
  const records = [{ record: later.record, holders: [] }];
  await fleet.site('aws').replication.service({ type: 'put', records }, 'gcp');
  await fleet.clock.advance(5000);
  await expectEverywhere(sent, later);
});

test('an older one that is sent again after it was replaced replaces nothing', async () => {
  const older = message('older', 'a');
  await accept('aws', older);
  const newer = message('newer', 'a');
  await accept('aws', newer);
  await accept('aws', message('older', 'a'));
  await fleet.clock.advance(5000);
  await expectEverywhere(newer);
});

test('in whichever order messages come, the newest is left', async () => {
  const times = fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(times, async (acceptedTimesMs) => {
      const store = createMemoryStore();
      const bury = async (ack: Parameters<typeof store.bury>[0][number]['ack']): Promise<void> =>
        void (await store.bury([{ ack, owedTo: [] }], 0));
      const topics = createTopics({ store, bury, clock: fleet.clock, events: createRecordedEvents() });
      for (const acceptedMs of acceptedTimesMs) {
        const sent = mailbox.message(String(acceptedMs), {
          acceptedMs,
          expiresMs: 2_000_000_000_000,
          topic: 'a',
        });
        await store.insert([{ message: sent, owedTo: [] }], 0);
        await topics.sent(sent, TEST_CAPABILITY_ID);
      }
      const left = await store.pending(mailbox.tag, 10, 0);
      expect(left.map(({ acceptedMs }) => acceptedMs)).toEqual([Math.max(...acceptedTimesMs)]);
    }),
  );
});
