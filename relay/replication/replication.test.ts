/**
 * What three sites promise together: an accepted message survives any one of them, and an acked one never comes
 * back. Real stores, real peer services and real frames; only wires and time are the test's.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, type TestMailbox } from '../../test/support/mailbox.ts';
import type { Message } from '../core/message.ts';

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

async function holders(of: Message): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of ['aws', 'gcp', 'hetzner']) {
    if ((await fleet.site(name).pending(mailbox.tag)).includes(of.id)) found.push(name);
  }
  return found;
}

async function debts(): Promise<number> {
  let total = 0;
  for (const name of ['aws', 'gcp', 'hetzner']) {
    for (const count of Object.values(await fleet.site(name).debts())) total += count;
  }
  return total;
}

describe('a message is accepted', () => {
  test('without waiting for a site that is away', async () => {
    fleet.around('hetzner', 'silent');
    const accepted = fleet.site('aws').replication.acceptor.accept(message('m'));
    // No timer has fired: two answers were enough.
    expect(await accepted).toBe('accepted');
    expect(await holders(message('m'))).toEqual(['aws', 'gcp']);
  });

  test('by two others when the own store is away', async () => {
    await fleet.site('aws').store.close();
    expect(await accept('aws', message('m'))).toBe(true);
    expect(await fleet.site('gcp').pending(mailbox.tag)).toHaveLength(1);
    expect(await fleet.site('hetzner').pending(mailbox.tag)).toHaveLength(1);
  });

  test('and then held by all, with nothing owed any more', async () => {
    const sent = message('m');
    expect(await accept('aws', sent)).toBe(true);
    await fleet.clock.advance(5000);
    expect(await holders(sent)).toEqual(['aws', 'gcp', 'hetzner']);
    expect(await debts()).toBe(0);
  });

  test('when its recipient has acked it already, for nothing is left to lose', async () => {
    const sent = message('m');
    await accept('aws', sent);
    await ack('gcp', sent);
    await fleet.clock.advance(5000);
    expect(await accept('hetzner', sent)).toBe(true);
    expect(await holders(sent)).toEqual([]);
  });
});

describe('a message is not accepted', () => {
  test('by a site alone, which still keeps it', async () => {
    fleet.around('aws', 'cut');
    const sent = message('m');
    expect(await accept('aws', sent)).toBe(false);
    expect(await holders(sent)).toEqual(['aws']);
  });

  test('when the others do not answer within the deadline', async () => {
    fleet.around('aws', 'silent');
    const accepted = fleet.site('aws').replication.acceptor.accept(message('m'));
    await fleet.clock.advance(fleet.deadlineMs - 1);
    expect(await Promise.race([accepted, Promise.resolve('no answer yet')])).toBe('no answer yet');
    await fleet.clock.advance(1);
    expect(await accepted).toBe('unconfirmed');
  });

  test('when a damaged put is refused, which then stays owed until it arrives whole', async () => {
    fleet.onTheWay((request) => {
      if (request.type !== 'put') return request;
      const records = request.records.map((offered) => {
        const record = Buffer.from(offered.record);
        record.writeUInt8(record.readUInt8(60) ^ 1, 60);
        return { ...offered, record };
      });
      return { type: 'put', records };
    });
    const sent = message('m');
    expect(await accept('aws', sent)).toBe(false);
    await fleet.clock.advance(3000);
    expect(await holders(sent)).toEqual(['aws']);
    expect(await fleet.site('aws').debts()).toEqual({ gcp: 1, hetzner: 1 });
    expect(fleet.site('gcp').events.happened).toContain('unbelieved damaged');
    fleet.onTheWay(undefined);
    await fleet.clock.advance(12_000);
    expect(await holders(sent)).toEqual(['aws', 'gcp', 'hetzner']);
    expect(await debts()).toBe(0);
  });

  test('when it expired on the way', async () => {
    expect(await accept('aws', message('m', 0))).toBe(false);
  });

  test('by two sites of one provider', async () => {
    await using neighbours = linkSites(['aws', 'aws-2', 'gcp']);
    neighbours.around('gcp', 'cut');
    const sent = mailbox.message('m', { expiresMs: neighbours.clock.wallMs() + 60_000 });
    const accepted = neighbours.site('aws').replication.acceptor.accept(sent);
    await neighbours.clock.advance(neighbours.deadlineMs);
    expect(await accepted).toBe('unconfirmed');
    expect(await neighbours.site('aws-2').pending(mailbox.tag)).toEqual([sent.id]);
  });
});

test('a sender that heard nothing sends again, elsewhere, and it is one message', async () => {
  const sent = message('m');
  fleet.around('aws', 'lose answers');
  expect(await accept('aws', sent)).toBe(false);
  fleet.around('aws', 'whole');
  expect(await accept('gcp', sent)).toBe(true);
  await fleet.clock.advance(5000);
  for (const name of ['aws', 'gcp', 'hetzner']) {
    expect(await fleet.site(name).pending(mailbox.tag)).toEqual([sent.id]);
  }
  expect(await debts()).toBe(0);
});

describe('the copy that is still owed', () => {
  test('survives the accepting site: the receiver brings it', async () => {
    fleet.around('hetzner', 'cut');
    const sent = message('m');
    // Dead as soon as it has answered, before anybody was told who holds what.
    expect(await fleet.site('aws').replication.acceptor.accept(sent)).toBe('accepted');
    await fleet.site('aws').die();
    fleet.between('gcp', 'hetzner', 'whole');
    await fleet.clock.advance(5000);
    expect(await fleet.site('hetzner').pending(mailbox.tag)).toEqual([sent.id]);
  });

  test('is not owed twice once everybody was told', async () => {
    await accept('aws', message('m'));
    await fleet.clock.advance(100);
    for (const name of ['aws', 'gcp', 'hetzner']) fleet.site(name).asked.length = 0;
    await fleet.clock.advance(10_000);
    for (const name of ['aws', 'gcp', 'hetzner']) expect(fleet.site(name).asked).not.toContain('put');
  });

  test('is drained although the notices were lost', async () => {
    fleet.onTheWay((request) => {
      if (request.type === 'held') throw new Error('lost');
      return request;
    });
    await accept('aws', message('m'));
    await fleet.clock.advance(10_000);
    expect(await debts()).toBe(0);
    expect(fleet.site('aws').events.happened).toContain('noticeLost');
  });

  test('of many large messages fits through the wire', async () => {
    fleet.between('aws', 'hetzner', 'cut');
    fleet.between('gcp', 'hetzner', 'cut');
    const acceptedMs = fleet.clock.wallMs();
    const large = Array.from({ length: 130 }, (_, index) =>
      mailbox.message(`large${index}`, {
        acceptedMs,
        expiresMs: acceptedMs + 600_000,
        body: Buffer.alloc(65_536, index),
      }),
    );
    const answers = large.map((sent) => fleet.site('aws').replication.acceptor.accept(sent));
    await fleet.clock.settle();
    await fleet.clock.settle();
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['accepted']));
    fleet.between('aws', 'hetzner', 'whole');
    await fleet.clock.advance(5000);
    expect(await fleet.site('hetzner').pending(mailbox.tag)).toHaveLength(large.length);
  });
});

describe('an ack', () => {
  test('reaches every site, and what it names is gone everywhere', async () => {
    const sent = message('m');
    await accept('aws', sent);
    await ack('gcp', sent);
    await fleet.clock.advance(5000);
    expect(await holders(sent)).toEqual([]);
    expect(await debts()).toBe(0);
  });

  test('reaches a site that was away, and what it still holds does not come back', async () => {
    const sent = message('m');
    await accept('aws', sent);
    await fleet.clock.advance(100);
    fleet.around('hetzner', 'cut');
    await ack('aws', sent);
    await fleet.clock.advance(5000);
    expect(await holders(sent)).toEqual(['hetzner']);
    fleet.around('hetzner', 'whole');
    await fleet.clock.advance(5000);
    expect(await holders(sent)).toEqual([]);
    expect(await debts()).toBe(0);
  });

  test('wins over a message that another site still owes', async () => {
    fleet.around('hetzner', 'cut');
    const sent = message('m');
    expect(await accept('aws', sent)).toBe(true);
    await ack('gcp', sent);
    fleet.around('hetzner', 'whole');
    await fleet.clock.advance(10_000);
    expect(await holders(sent)).toEqual([]);
    expect(await debts()).toBe(0);
  });

  test('that comes before the message buries it on arrival', async () => {
    const sent = message('m');
    await ack('hetzner', sent);
    await fleet.clock.advance(1000);
    expect(await accept('aws', sent)).toBe(true);
    expect(await holders(sent)).toEqual([]);
  });

  test('survives the site that took it', async () => {
    const sent = message('m');
    await accept('aws', sent);
    await fleet.clock.advance(100);
    fleet.around('hetzner', 'cut');
    await ack('gcp', sent);
    await fleet.site('gcp').die();
    fleet.between('aws', 'hetzner', 'whole');
    await fleet.clock.advance(5000);
    expect(await fleet.site('hetzner').pending(mailbox.tag)).toEqual([]);
  });

  test('is refused by a site when a peer has altered it', async () => {
    const sent = message('m');
    await accept('aws', sent);
    fleet.onTheWay((request) => {
      if (request.type !== 'bury') return request;
      const records = request.records.map(({ record, holders }) => {
        const altered = Buffer.from(record);
        altered.writeUInt8(altered.readUInt8(altered.length - 1) ^ 1, altered.length - 1);
        return { record: altered, holders };
      });
      return { type: 'bury', records };
    });
    await ack('aws', sent);
    await fleet.clock.advance(3000);
    expect(await holders(sent)).toEqual(['gcp', 'hetzner']);
    expect(fleet.site('gcp').events.happened).toContain('peerRefused aws bad_signature');
    fleet.onTheWay(undefined);
    await fleet.clock.advance(3000);
    expect(await holders(sent)).toEqual([]);
  });
});

test('a relay whose store is away refuses its peers by name', async () => {
  await fleet.site('gcp').store.close();
  fleet.around('hetzner', 'cut');
  expect(await accept('aws', message('m'))).toBe(false);
  expect(fleet.site('gcp').events.happened).toContain('peerRefused aws store_unavailable');
});

test('a site that stops leaves no timer behind but those of calls under way', async () => {
  for (const name of ['aws', 'gcp', 'hetzner']) await fleet.site(name).die();
  await fleet.clock.advance(10_000);
  expect(fleet.clock.pending()).toBe(0);
});

test('another message with the id of an earlier one is told so by the providers that hold the earlier one', async () => {
  const first = message('m');
  expect(await accept('aws', first)).toBe(true);
  const other = mailbox.message('m', { ...first, body: Buffer.from('something else') });
  const offered = fleet.site('gcp').replication.acceptor.accept(other);
  await fleet.clock.advance(fleet.deadlineMs);
  expect(await offered).toBe('other_kept');
  await fleet.clock.advance(10_000);
  expect(await fleet.site('gcp').debts()).toEqual({ aws: 0, hetzner: 0 });
});

test('two messages of one id at the same time: whoever hears 201 is right, and no two are right', async () => {
  fleet.around('hetzner', 'cut');
  fleet.between('aws', 'gcp', 'cut');
  const first = message('m');
  const other = mailbox.message('m', { ...first, body: Buffer.from('something else') });
  expect(await accept('aws', first)).toBe(false);
  expect(await accept('gcp', other)).toBe(false);
  fleet.between('aws', 'gcp', 'whole');
  expect(await accept('aws', first)).toBe(false);
  fleet.around('hetzner', 'whole');
  await fleet.clock.advance(5000);
  const answers = [await accept('aws', first), await accept('gcp', other)];
  expect(answers.filter((isAccepted) => isAccepted)).toHaveLength(1);
});
