/**
 * Differences that nobody knows of are found and made good, and finding that there is none costs next to nothing.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import { TOMBSTONE_SLACK_MS } from '../core/ack.ts';
import type { Message } from '../core/message.ts';
import { referenceTo } from '../core/reference.ts';

const SITES = ['aws', 'gcp', 'hetzner'] as const;
const HOUR_MS = 3_600_000;
/** Long enough for each site to have compared itself with each other one. */
const ROUND_MS = 60_000;

let fleet: LinkedSites;
let mailbox: TestMailbox;

beforeEach(async () => {
  fleet = linkSites(SITES);
  mailbox = createTestMailbox();
  await fleet.clock.advance(1000);
});
afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
});

function message(name: string, of = mailbox, ttlMs = HOUR_MS): Message {
  const acceptedMs = fleet.clock.wallMs();
  return of.message(name, { acceptedMs, expiresMs: acceptedMs + ttlMs });
}

/** Stores at some sites only, and nobody owes it to the others. */
async function put(messages: readonly Message[], ...sites: readonly string[]): Promise<void> {
  const insertions = messages.map((each) => ({ message: each, owedTo: [] }));
  for (const name of sites) await fleet.site(name).store.insert(insertions, fleet.clock.wallMs());
}

describe('what no outbox has', () => {
  test('is found by comparing, at every site that lacks it', async () => {
    const lonely = message('lonely');
    await put([lonely], 'aws');
    await fleet.clock.advance(ROUND_MS);
    for (const name of SITES) expect(await fleet.site(name).pending(mailbox.tag)).toEqual([lonely.id]);
  });

  test('is found also when it is an ack, which then wins over the message', async () => {
    const acked = message('acked');
    await put([acked], ...SITES);
    const ack = mailbox.ack([acked.id], fleet.clock.wallMs() + HOUR_MS);
    await fleet.site('gcp').store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
    await fleet.clock.advance(ROUND_MS);
    for (const name of SITES) expect(await fleet.site(name).pending(mailbox.tag)).toEqual([]);
  });

  test('is found also when one site has it for longer', async () => {
    const shorter = message('m', mailbox, HOUR_MS);
    const longer = message('m', mailbox, 2 * HOUR_MS);
    await put([shorter], ...SITES);
    await put([longer], 'hetzner');
    await fleet.clock.advance(ROUND_MS);
    const found = await fleet.site('aws').store.pending(mailbox.tag, 10, fleet.clock.wallMs());
    expect(found.map(({ expiresMs }) => expiresMs)).toEqual([longer.expiresMs]);
  });
});

describe('a comparison', () => {
  test('lists nothing when nothing differs, however much is stored', async () => {
    const little = await cost(50);
    const much = await cost(3000);
    expect(much).toBeLessThan(1.5 * little);
  });

  test('lists about as much as differs, and not what is stored', async () => {
    const mailboxes = Array.from({ length: 150 }, createTestMailbox);
    const stored = Array.from({ length: 3000 }, (_, index) =>
      message(`${index}`, mailboxes[index % mailboxes.length]),
    );
    await put(stored, ...SITES);
    await fleet.clock.advance(ROUND_MS);
    const listedFor = async (differences: number, round: string): Promise<number> => {
      const lonely = Array.from({ length: differences }, (_, index) =>
        message(`${round} ${index}`, mailboxes[(7 * index) % mailboxes.length]),
      );
      await put(lonely, 'aws', 'gcp');
      const before = fleet.traffic.listed;
      await fleet.clock.advance(2 * ROUND_MS);
      expect(await fleet.site('hetzner').store.missing(lonely.map(referenceTo))).toEqual([]);
      return fleet.traffic.listed - before;
    };
    const [few, more] = [await listedFor(5, 'few'), await listedFor(60, 'more')];
    // A slice has one message here on average; two sites list each difference, and at first both sides look.
    expect(few).toBeLessThan(5 * 12);
    expect(more).toBeLessThan(60 * 12);
    expect(more).toBeGreaterThan(few);
  });

  test('does not take for a difference what is on its way', async () => {
    let compared = 0;
    for (const name of SITES) fleet.site(name).events.happened.length = 0;
    for (let second = 0; second < 90; second += 1) {
      // The outbox brings it to the others after a second.
      const insertion = { message: message(`${second}`), owedTo: ['gcp', 'hetzner'] };
      await fleet.site('aws').store.insert([insertion], fleet.clock.wallMs());
      await fleet.clock.advance(1000);
    }
    for (const name of SITES) {
      for (const event of fleet.site(name).events.happened) {
        if (!event.startsWith('compared')) continue;
        compared += 1;
        expect(event).toBe('compared 0 0 0');
      }
    }
    expect(compared).toBeGreaterThan(6);
  });

  test('finds sites the same that sweep at different moments, and tombstones that are remembered differently long', async () => {
    const short = Array.from({ length: 50 }, (_, index) => message(`${index}`, mailbox, 90_000));
    await put(short, ...SITES);
    const late = message('late', mailbox, 3 * HOUR_MS);
    const ack = mailbox.ack([late.id], fleet.clock.wallMs() + HOUR_MS);
    for (const name of SITES) {
      await fleet.site(name).store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
    }
    // Only here the message came after its ack, and prolonged it.
    await put([late], 'aws');
    await fleet.clock.advance(2 * ROUND_MS);
    await fleet.site('aws').store.expire(fleet.clock.wallMs(), 1000);
    const before = fleet.traffic.listed;
    await fleet.clock.advance(2 * ROUND_MS);
    expect(fleet.traffic.listed).toBe(before);
    // Where it is forgotten first it comes again, and is then remembered as long as elsewhere.
    const forgottenMs = fleet.clock.wallMs() + HOUR_MS + TOMBSTONE_SLACK_MS;
    await fleet.site('gcp').store.expire(forgottenMs, 1000);
    await fleet.clock.advance(2 * ROUND_MS);
    await fleet.site('gcp').store.expire(forgottenMs, 1000);
    const reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id } as const;
    expect(await fleet.site('gcp').store.missing([reference])).toEqual([]);
  });
});

test('a site that says it remembers an ack for ever is believed as far as a message can live', async () => {
  const ack = mailbox.ack([message('m').id], 9e15);
  await fleet.site('aws').store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  await fleet.clock.advance(ROUND_MS);
  const { store } = fleet.site('gcp');
  const reference = { kind: 'ack', mailbox: mailbox.tag, id: ack.id } as const;
  expect(await store.missing([reference])).toEqual([]);
  await store.expire(fleet.clock.wallMs() + 32 * 24 * HOUR_MS, 100);
  expect(await store.missing([reference])).toEqual([reference]);
});

test('what a store lost while it was away for a moment is found soon after it came back, whenever that is', async () => {
  for (let time = 0; time < 6; time += 1) {
    const lost = message(`${time}`);
    await put([lost], 'aws', 'hetzner');
    fleet.site('gcp').comeBack();
    await fleet.clock.advance(5000);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toContain(lost.id);
  }
});

describe('a damaged message', () => {
  test('is fetched again soon after somebody tried to read it, whenever that is', async () => {
    const whole = message('m');
    await put([whole], ...SITES);
    await fleet.clock.advance(ROUND_MS);
    for (let time = 0; time < 6; time += 1) {
      fleet.site('gcp').damage(whole.id);
      expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([]);
      // A look whether something is due, and the second look of the comparison.
      await fleet.clock.advance(5000);
      expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([whole.id]);
    }
  });

  test('that is still owed is fetched from another site before it is brought where it belongs', async () => {
    fleet.around('gcp', 'cut');
    const owed = message('m');
    const accepted = fleet.site('aws').replication.acceptor.accept(owed);
    await fleet.clock.advance(1000);
    expect(await accepted).toBe('accepted');
    fleet.site('aws').damage(owed.id);
    // Only the accepting site may bring it.
    fleet.between('aws', 'gcp', 'whole');
    await fleet.clock.advance(2000);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([owed.id]);
    expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([owed.id]);
    expect((await fleet.site('aws').debts())['gcp']).toBe(0);
  });

  test('that is still owed is not forgotten while a site that may have it cannot be asked', async () => {
    fleet.around('gcp', 'cut');
    const owed = message('m');
    const accepted = fleet.site('aws').replication.acceptor.accept(owed);
    await fleet.clock.advance(1000);
    await accepted;
    fleet.site('aws').damage(owed.id);
    fleet.between('aws', 'hetzner', 'cut');
    fleet.between('aws', 'gcp', 'whole');
    await fleet.clock.advance(20_000);
    expect((await fleet.site('aws').debts())['gcp']).toBe(1);
    const other = message('other');
    const second = fleet.site('aws').replication.acceptor.accept(other);
    await fleet.clock.advance(20_000);
    await second;
    // It does not stand in the way of others.
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([other.id]);
    fleet.between('aws', 'hetzner', 'whole');
    await fleet.clock.advance(20_000);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([owed.id, other.id]);
    expect((await fleet.site('aws').debts())['gcp']).toBe(0);
  });

  test('that nobody has any more is settled and counted', async () => {
    const gone = message('m');
    const { store, events } = fleet.site('aws');
    await store.insert([{ message: gone, owedTo: ['gcp'] }], fleet.clock.wallMs());
    fleet.site('aws').damage(gone.id);
    await fleet.clock.advance(5000);
    expect((await fleet.site('aws').debts())['gcp']).toBe(0);
    expect(events.happened).toContain('owedNowhere 1');
  });
});

/** Bytes that comparing costs when `count` more are stored and nothing differs. */
async function cost(count: number): Promise<number> {
  const mailboxes = Array.from({ length: 50 }, createTestMailbox);
  const many = Array.from({ length: count }, (_, index) =>
    message(`${index}`, mailboxes[index % mailboxes.length]),
  );
  await put(many, ...SITES);
  const before = { ...fleet.traffic };
  await fleet.clock.advance(ROUND_MS);
  expect(fleet.traffic.listed).toBe(before.listed);
  return fleet.traffic.bytes - before.bytes;
}
