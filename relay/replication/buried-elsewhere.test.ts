/**
 * What was acked at two providers and is not known here yet is asked for before it is delivered; and whoever cannot be asked
 * holds nobody up.
 */
import { expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, TEST_PEPPER, type TestMailbox } from '../../test/support/mailbox.ts';
import { testManifest } from '../../test/support/manifests.ts';
import { ACK_IDS_MAX, type SignedAck } from '../core/ack.ts';
import { COPIES_NEEDED } from '../core/copies.ts';
import type { Message, MessageId } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';
import { type PeerLink, PeerUnreachable } from '../ports.ts';
import { createBuriedElsewhere } from './buried-elsewhere.ts';

const HOUR_MS = 3_600_000;
const THREE = ['aws', 'gcp', 'hetzner'];

/** A message that every site holds, and the ack of it that `buriers` have. */
async function acked(
  fleet: LinkedSites,
  buriers: readonly string[],
  mailbox: TestMailbox = createTestMailbox(),
): Promise<{ readonly mailbox: TestMailbox; readonly message: Message; readonly ack: SignedAck }> {
  const message = mailbox.message('m', { expiresMs: fleet.clock.wallMs() + HOUR_MS });
  const ack = mailbox.ack([message.id], fleet.clock.wallMs() + HOUR_MS);
  for (const name of THREE) {
    const { store } = fleet.site(name);
    await store.insert([{ message, owedTo: [] }], fleet.clock.wallMs());
    if (buriers.includes(name)) await store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  }
  return { mailbox, message, ack };
}

/** The id of some message that nobody has. */
function otherId(...numbers: readonly [number, number]): MessageId {
  const bytes = Buffer.alloc(16);
  for (const [place, number] of numbers.entries()) bytes.writeUInt32BE(number, 4 * place);
  return bytes.toString('base64url') as MessageId;
}

/** What `site` hears about these messages, and after how many milliseconds. */
async function ask(
  fleet: LinkedSites,
  site: string,
  messages: readonly Message[],
): Promise<{ readonly ids: readonly MessageId[]; readonly afterMs: number }> {
  const beganMs = fleet.clock.monotonicMs();
  const answer = fleet
    .site(site)
    .replication.buriedElsewhere(messages.map(referenceTo))
    .then((acks) => ({ ids: acks.flatMap(({ ids }) => ids), afterMs: fleet.clock.monotonicMs() - beganMs }));
  for (let step = 0; step < 50; step += 1) await fleet.clock.advance(10);
  return answer;
}

test('what others have buried is heard of, stored here, owed to nobody, and counted', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { mailbox, message } = await acked(fleet, ['gcp', 'hetzner']);
  const { events } = fleet.site('aws');
  expect((await ask(fleet, 'aws', [message])).ids).toContain(message.id);
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([]);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0, hetzner: 0 });
  expect(events.happened).toEqual(expect.arrayContaining(['burialsAsked answered', 'keptBack 1']));
});

test('what nobody has buried is nothing, at once', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message } = await acked(fleet, []);
  const { ids, afterMs } = await ask(fleet, 'aws', [message]);
  expect(ids).toEqual([]);
  expect(afterMs).toBeLessThan(50);
  expect(fleet.site('aws').events.happened).toContain('burialsAsked answered');
});

test('of three providers one is enough: a site that hangs holds nobody up', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message } = await acked(fleet, ['gcp', 'hetzner']);
  fleet.between('aws', 'hetzner', 'silent');
  const { ids, afterMs } = await ask(fleet, 'aws', [message]);
  expect(ids).toEqual([message.id]);
  expect(afterMs).toBeLessThan(50);
});

test('when all others hang, the budget is all that it costs', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message } = await acked(fleet, ['gcp', 'hetzner']);
  fleet.around('aws', 'silent');
  expect(await ask(fleet, 'aws', [message])).toEqual({ ids: [], afterMs: 300 });
  expect(fleet.site('aws').events.happened).toContain('burialsAsked late');
});

test('where too few can be reached nobody waits, nor where the own store must know', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message } = await acked(fleet, ['gcp', 'hetzner']);
  fleet.around('aws', 'cut');
  expect((await ask(fleet, 'aws', [message])).afterMs).toBeLessThan(50);
  expect(fleet.site('aws').events.happened).toContain('burialsAsked unreachable');
  await using two = linkSites(['aws', 'gcp']);
  await two.clock.advance(1000);
  two.site('gcp').asked.length = 0;
  expect((await ask(two, 'aws', [createTestMailbox().message('m')])).ids).toEqual([]);
  expect(two.site('gcp').asked).not.toContain('buried');
  expect(two.site('aws').events.happened.filter((event) => event.startsWith('burialsAsked'))).toEqual([]);
});

test('of a provider with two sites both have to answer', async () => {
  await using fleet = linkSites([...THREE, 'aws-2']);
  await fleet.clock.advance(1000);
  const { message, ack } = await acked(fleet, ['gcp']);
  // At aws and gcp, of which this site can ask nobody.
  await fleet.site('aws-2').store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  fleet.between('aws', 'gcp', 'silent');
  fleet.between('aws', 'aws-2', 'silent');
  expect((await ask(fleet, 'aws', [message])).afterMs).toBe(300);
  fleet.between('aws', 'aws-2', 'whole');
  const { ids, afterMs } = await ask(fleet, 'aws', [message]);
  expect(ids).toEqual([message.id]);
  expect(afterMs).toBeLessThan(50);
});

test('an ack that was not signed by the owner of the mailbox is not believed', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const mailbox = createTestMailbox();
  const { message } = await acked(fleet, [], mailbox);
  const thief = createTestMailbox();
  const ack = { ...thief.ack([message.id], fleet.clock.wallMs() + HOUR_MS), mailbox: mailbox.tag };
  for (const name of ['gcp', 'hetzner']) {
    await fleet.site(name).store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  }
  expect((await ask(fleet, 'aws', [message])).ids).toEqual([]);
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([message.id]);
  const other = await acked(fleet, []);
  const record = Buffer.from(other.ack.record);
  record[50] = (record[50] ?? 0) ^ 1;
  for (const name of ['gcp', 'hetzner']) {
    await fleet.site(name).store.bury([{ ack: { ...other.ack, record }, owedTo: [] }], fleet.clock.wallMs());
  }
  expect((await ask(fleet, 'aws', [other.message])).ids).toEqual([]);
  expect(fleet.site('aws').events.happened).toContain('unbelieved bad_signature');
});

test('a release that does not know the question has not answered', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message } = await acked(fleet, ['gcp', 'hetzner']);
  // As it reads the frame: a pull of acks of these names.
  fleet.onTheWay((request) =>
    request.type === 'buried'
      ? { type: 'pull', references: request.references.map((one) => ({ ...one, kind: 'ack' })) }
      : request,
  );
  expect((await ask(fleet, 'aws', [message])).ids).toEqual([]);
  expect(fleet.site('aws').events.happened).toContain('burialsAsked unreachable');
});

test('a crowd travels together, and what is too much of it does without', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { message, mailbox } = await acked(fleet, ['gcp', 'hetzner']);
  const { replication, events } = fleet.site('aws');
  fleet.site('gcp').asked.length = 0;
  const crowd = Array.from({ length: 5000 }, (_, place) => mailbox.message(`${place}`));
  const answers = [message, ...crowd].map((one) => replication.buriedElsewhere([referenceTo(one)]));
  await fleet.clock.advance(300);
  expect((await answers[0])?.flatMap(({ ids }) => ids)).toContain(message.id);
  await Promise.all(answers);
  const outcomes = events.happened.filter((event) => event.startsWith('burialsAsked'));
  expect(outcomes.filter((event) => event === 'burialsAsked answered')).toHaveLength(4096);
  expect(outcomes.filter((event) => event === 'burialsAsked crowd')).toHaveLength(905);
  expect(fleet.site('gcp').asked.filter((type) => type === 'buried')).toHaveLength(4096 / 256);
});

test('an answer that would be too large is given in part, and is none for the rest', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const mailbox = createTestMailbox();
  const untilMs = fleet.clock.wallMs() + HOUR_MS;
  const messages = Array.from({ length: 150 }, (_, place) => mailbox.message(`${place}`));
  for (const [place, { id }] of messages.entries()) {
    const others = Array.from({ length: ACK_IDS_MAX - 1 }, (_, at) => otherId(place, at));
    const ack = mailbox.ack([id, ...others], untilMs);
    for (const name of ['gcp', 'hetzner']) {
      await fleet.site(name).store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
    }
  }
  expect((await ask(fleet, 'aws', messages)).ids).toEqual([]);
  expect(fleet.site('aws').events.happened).toContain('burialsAsked unreachable');
  expect((await ask(fleet, 'aws', messages.slice(0, 20))).ids).toContain(messages[0]?.id);
});

test('an answer that comes after the budget is stored all the same', async () => {
  await using fleet = linkSites(THREE);
  await fleet.clock.advance(1000);
  const { mailbox, message } = await acked(fleet, ['gcp', 'hetzner']);
  const { clock } = fleet;
  const { store, events } = fleet.site('aws');
  const far: PeerLink = {
    site: 'gcp',
    provider: 'gcp',
    isUp: () => true,
    call: async (request, timeoutMs) => {
      await clock.sleep(Math.min(400, timeoutMs));
      if (timeoutMs < 400) throw new PeerUnreachable('no answer in time');
      return fleet.site('gcp').replication.service(request, 'aws');
    },
  };
  const buriedElsewhere = createBuriedElsewhere(
    { own: { name: 'aws' }, sites: testManifest(THREE).sites, copiesNeeded: COPIES_NEEDED },
    { links: [far], store, clock, events, pepper: TEST_PEPPER },
  );
  const answer = buriedElsewhere([referenceTo(message)]);
  await clock.advance(300);
  expect(await answer).toEqual([]);
  expect(events.happened).toContain('burialsAsked late');
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([message.id]);
  await clock.advance(100);
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([]);
});
