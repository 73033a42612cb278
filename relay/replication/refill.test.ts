/**
 * A site that may lack what it once acknowledged says so, takes what it lacks from the others, and only then is whole.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import type { Message } from '../core/message.ts';
import type { MessageStore } from '../ports.ts';

let fleet: LinkedSites;
let mailbox: TestMailbox;

beforeEach(async () => {
  fleet = linkSites(['aws', 'gcp', 'hetzner']);
  mailbox = createTestMailbox();
  // The first exchange of three empty sites.
  await fleet.clock.advance(1000);
});

afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
});

function message(name: string, ttlMs = 600_000): Message {
  const acceptedMs = fleet.clock.wallMs();
  return mailbox.message(name, { acceptedMs, expiresMs: acceptedMs + ttlMs });
}

/** Offers to a site, and lets time pass until it has answered. */
async function accept(site: string, offered: Message): Promise<boolean> {
  const accepted = fleet.site(site).replication.acceptor.accept(offered);
  await fleet.clock.advance(fleet.deadlineMs);
  return (await accepted) === 'accepted';
}

async function ack(site: string, ...acked: readonly Message[]): Promise<void> {
  const ids = acked.map(({ id }) => id);
  const buried = fleet.site(site).replication.acceptor.bury(mailbox.ack(ids, fleet.clock.wallMs() + 600_000));
  await fleet.clock.settle();
  await buried;
}

describe('a store that lost its memory', () => {
  test('says so, refills messages and tombstones from the others, and only then is whole', async () => {
    const kept = message('kept');
    const acked = message('acked');
    await accept('aws', kept);
    await accept('aws', acked);
    await ack('aws', acked);
    await fleet.clock.advance(5000);
    const { replication, store } = fleet.site('gcp');
    expect(replication.isRecovering()).toBe(false);
    fleet.around('gcp', 'cut');
    fleet.site('gcp').wipe();
    await fleet.clock.advance(1000);
    expect(replication.isRecovering()).toBe(true);
    fleet.around('gcp', 'whole');
    await fleet.clock.advance(2000);
    expect(replication.isRecovering()).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
    const late = [{ message: acked, owedTo: [] }];
    expect(await store.insert(late, fleet.clock.wallMs())).toEqual(['buried']);
  });

  test('and whose clock is an hour ahead takes for expired only what has expired for the others', async () => {
    const kept = message('kept');
    await accept('aws', kept);
    await fleet.clock.advance(5000);
    const gcp = fleet.site('gcp');
    gcp.ahead(3_600_000);
    gcp.wipe();
    await fleet.clock.advance(5000);
    expect(gcp.replication.isRecovering()).toBe(false);
    gcp.ahead(0);
    expect(await gcp.pending(mailbox.tag)).toEqual([kept.id]);
  });

  test('counts for new messages while it recovers', async () => {
    fleet.between('gcp', 'hetzner', 'cut');
    fleet.around('hetzner', 'cut');
    fleet.site('gcp').wipe();
    fleet.onTheWay((request) => {
      if (request.type === 'totals') throw new Error('lost');
      return request;
    });
    await fleet.clock.advance(1000);
    expect(fleet.site('gcp').replication.isRecovering()).toBe(true);
    expect(await accept('aws', message('m'))).toBe(true);
  });

  test('is not whole by the word of a neighbour at the same provider', async () => {
    await using neighbours = linkSites(['aws', 'aws-2', 'gcp']);
    neighbours.around('gcp', 'cut');
    await neighbours.clock.advance(5000);
    expect(neighbours.site('aws').replication.isRecovering()).toBe(true);
    neighbours.around('gcp', 'whole');
    await neighbours.clock.advance(5000);
    expect(neighbours.site('aws').replication.isRecovering()).toBe(false);
  });

  test('and loses it again during the refill starts over', async () => {
    const other = createTestMailbox();
    const kept = message('kept');
    await accept('aws', kept);
    await accept('aws', other.message('other', { expiresMs: fleet.clock.wallMs() + 600_000 }));
    await fleet.clock.advance(5000);
    const { events, replication } = fleet.site('gcp');
    events.happened.length = 0;
    fleet.site('gcp').wipe();
    let asked = 0;
    fleet.onTheWay((request) => {
      if (request.type === 'totals') asked += 1;
      // What the first site brought is lost again.
      if (request.type === 'totals' && asked === 2) fleet.site('gcp').wipe();
      return request;
    });
    await fleet.clock.advance(10_000);
    expect(events.happened.filter((event) => event === 'recovering no_memory')).toHaveLength(2);
    expect(replication.isRecovering()).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
    expect(events.happened.filter((event) => event === 'recovered')).toHaveLength(1);
  });

  test('and loses it again while another relay of the site begins anew starts over as well', async () => {
    const kept = message('kept');
    await fleet.site('aws').store.insert([{ message: kept, owedTo: [] }], fleet.clock.wallMs());
    fleet.site('gcp').wipe();
    const asked: string[] = [];
    fleet.onTheWay((request) => {
      if (request.type === 'totals') asked.push(request.type);
      if (request.type === 'totals' && asked.length === 2) {
        // What the first site brought is lost, and it is the other relay that sees it.
        fleet.site('gcp').wipe();
        const begun = { id: 'BBBBBBBBBBBBBBBBBBBBBB', refilledFrom: [], seenMs: fleet.clock.wallMs() };
        void fleet.site('gcp').store.replaceEpoch(undefined, begun);
      }
      return request;
    });
    while (asked.length < 2 || fleet.site('gcp').replication.isRecovering()) await fleet.clock.advance(10);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
  });

  test('takes also what cannot be reckoned because much of it is about to expire', async () => {
    const kept = message('kept');
    const { store } = fleet.site('aws');
    await store.insert([{ message: kept, owedTo: [] }], fleet.clock.wallMs());
    Object.assign(store, {
      digest: async (partitions) => partitions.map(() => undefined),
    } satisfies Pick<MessageStore, 'digest'>);
    fleet.site('gcp').wipe();
    await fleet.clock.advance(2000);
    expect(fleet.site('gcp').replication.isRecovering()).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
  });

  test('takes all of what does not fit into one answer, of which no more is read than about goes into it', async () => {
    const large = Array.from({ length: 200 }, (_, index) =>
      mailbox.message(`${index}`, {
        body: Buffer.alloc(60_000),
        acceptedMs: fleet.clock.wallMs() + index,
        expiresMs: fleet.clock.wallMs() + 600_000,
      }),
    );
    const insertions = large.map((one) => ({ message: one, owedTo: [] }));
    const { store } = fleet.site('aws');
    await store.insert(insertions, fleet.clock.wallMs());
    const whole = { ...store };
    let read = 0;
    Object.assign(store, {
      load: (references) => {
        read += references.length;
        return whole.load(references);
      },
    } satisfies Pick<MessageStore, 'load'>);
    fleet.site('gcp').wipe();
    await fleet.clock.advance(5000);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual(large.map(({ id }) => id));
    expect(read).toBeGreaterThanOrEqual(large.length);
    expect(read).toBeLessThan(3 * large.length);
  });

  test('stops asking for the rest when one partition failed, and begins again later', async () => {
    for (let index = 0; index < 64; index += 1) {
      const each = createTestMailbox().message('m', { expiresMs: fleet.clock.wallMs() + 600_000 });
      await fleet.site('aws').store.insert([{ message: each, owedTo: [] }], fleet.clock.wallMs());
    }
    await fleet.site('hetzner').die();
    fleet.site('gcp').wipe();
    let asked = 0;
    fleet.onTheWay((request) => {
      if (request.type !== 'list') return request;
      asked += 1;
      throw new Error('lost');
    });
    await fleet.clock.advance(500);
    // One attempt: eight lanes, and what they had begun.
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(32);
    fleet.onTheWay(undefined);
    await fleet.clock.advance(1000);
    expect(fleet.site('gcp').replication.isRecovering()).toBe(false);
  });

  test('is refilled by the others although one of them cannot be asked', async () => {
    const kept = message('kept');
    await accept('aws', kept);
    await fleet.clock.advance(5000);
    await fleet.site('aws').store.close();
    fleet.site('gcp').wipe();
    await fleet.clock.advance(2000);
    expect(fleet.site('gcp').replication.isRecovering()).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
  });

  test('asks every site that it can reach, for one of them may have lost its memory too', async () => {
    const kept = message('kept');
    await fleet.site('hetzner').store.insert([{ message: kept, owedTo: [] }], fleet.clock.wallMs());
    fleet.site('gcp').wipe();
    fleet.site('aws').wipe();
    let recoveredWithout = false;
    for (let step = 0; step < 200; step += 1) {
      await fleet.clock.advance(10);
      const isWhole = !fleet.site('gcp').replication.isRecovering();
      const has = (await fleet.site('gcp').pending(mailbox.tag)).length === 1;
      // Until the next look at its epoch it does not know of the wipe.
      if (isWhole && !has && step > 60) recoveredWithout = true;
    }
    expect(recoveredWithout).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([kept.id]);
    expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([kept.id]);
  });
});

describe('a site that was away', () => {
  test('for longer than a restart compares itself before it is whole, and takes what it missed', async () => {
    const { events, replication } = fleet.site('gcp');
    await fleet.clock.advance(30_000);
    events.happened.length = 0;
    fleet.around('gcp', 'cut');
    await fleet.clock.advance(90_000);
    const missed = message('missed');
    // Nobody owes it: outboxes towards a site that is away take only so much.
    for (const name of ['aws', 'hetzner']) {
      await fleet.site(name).store.insert([{ message: missed, owedTo: [] }], fleet.clock.wallMs());
    }
    expect(events.happened).toContain('recovering away');
    expect(replication.isRecovering()).toBe(true);
    fleet.around('gcp', 'whole');
    await fleet.clock.advance(1500);
    expect(replication.isRecovering()).toBe(false);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([missed.id]);
  });

  test('while its clock was put back an hour compares itself too', async () => {
    const { events, replication } = fleet.site('gcp');
    fleet.site('gcp').ahead(3_600_000);
    await fleet.clock.advance(30_000);
    expect(replication.isRecovering()).toBe(false);
    events.happened.length = 0;
    fleet.around('gcp', 'cut');
    fleet.site('gcp').ahead(0);
    await fleet.clock.advance(30_000);
    expect(replication.isRecovering()).toBe(true);
    fleet.around('gcp', 'whole');
    await fleet.clock.advance(1500);
    expect(replication.isRecovering()).toBe(false);
    expect(events.happened.filter((event) => event.startsWith('recovering'))).toEqual(['recovering away']);
  });

  test('for as long as a restart takes is whole at once', async () => {
    await fleet.clock.advance(30_000);
    fleet.site('gcp').events.happened.length = 0;
    fleet.around('gcp', 'cut');
    await fleet.clock.advance(20_000);
    fleet.around('gcp', 'whole');
    await fleet.clock.advance(5000);
    expect(fleet.site('gcp').events.happened).not.toContain('recovering away');
    expect(fleet.site('gcp').replication.isRecovering()).toBe(false);
  });
});
