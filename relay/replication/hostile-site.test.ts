/**
 * A site that does not keep to the rules, or has a clock that is years ahead: what it sends is not believed by itself.
 */
import { expect, test } from 'vitest';
import { linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { FOREIGN_CLOCK_MS_MAX, TTL_MS_MAX } from '../core/message.ts';

const NAMES = ['aws', 'gcp', 'hetzner'];
const mailbox = createTestMailbox();

test('what would never expire is stored at no other site, whichever way it comes, and is counted', async () => {
  await using fleet = linkSites(NAMES);
  const { clock } = fleet;
  await clock.advance(5000);
  const acceptedMs = clock.wallMs();
  const endless = mailbox.message('endless', { acceptedMs, expiresMs: 2 ** 52 });
  // Offered at once, owed from then on, and found by every comparison.
  const accepted = fleet.site('aws').replication.acceptor.accept(endless);
  await clock.advance(fleet.deadlineMs);
  expect(await accepted).toBe('unconfirmed');
  await clock.advance(90_000);
  for (const name of ['gcp', 'hetzner']) {
    expect(await fleet.site(name).pending(mailbox.tag), name).toEqual([]);
    expect(fleet.site(name).events.happened).toContain('unbelieved lives_too_long');
  }
  expect(fleet.site('aws').asked).toContain('pull');
});

test('what lives as long as a message may is taken, also from a clock that is ahead', async () => {
  await using fleet = linkSites(NAMES);
  const { clock } = fleet;
  await clock.advance(5000);
  const acceptedMs = clock.wallMs() + FOREIGN_CLOCK_MS_MAX;
  const longest = mailbox.message('longest', { acceptedMs, expiresMs: acceptedMs + TTL_MS_MAX });
  const accepted = fleet.site('aws').replication.acceptor.accept(longest);
  await clock.advance(fleet.deadlineMs);
  expect(await accepted).toBe('accepted');
  for (const name of NAMES) expect(await fleet.site(name).pending(mailbox.tag), name).toEqual([longest.id]);
});

test('a heap of what is not believed does not keep from others what is owed to them', async () => {
  await using fleet = linkSites(NAMES);
  const { clock } = fleet;
  await clock.advance(5000);
  const acceptedMs = clock.wallMs();
  const heap = Array.from({ length: 300 }, (_, at) =>
    mailbox.message(`endless ${at}`, { acceptedMs, expiresMs: 2 ** 52 }),
  );
  const good = mailbox.message('good', { acceptedMs, expiresMs: acceptedMs + 3_600_000 });
  const { store } = fleet.site('aws');
  for (const message of heap) await store.insert([{ message, owedTo: ['gcp'] }], acceptedMs);
  await store.insert([{ message: good, owedTo: ['gcp'] }], acceptedMs + 1);
  await clock.advance(6000);
  expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([good.id]);
});

test('an answer with fewer outcomes than messages confirms none but those that it names', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(5000);
  const acceptedMs = clock.wallMs();
  const { replication } = fleet.site('aws');
  fleet.onTheWayBack((reply) =>
    reply.type === 'outcomes' ? { ...reply, outcomes: reply.outcomes.slice(0, 1) } : reply,
  );
  const accepted = ['one', 'two'].map((name) =>
    replication.acceptor.accept(mailbox.message(name, { acceptedMs, expiresMs: acceptedMs + 3_600_000 })),
  );
  await clock.advance(fleet.deadlineMs);
  expect(await Promise.all(accepted)).toEqual(['accepted', 'unconfirmed']);
  fleet.onTheWayBack((reply) => (reply.type === 'outcomes' ? { ...reply, outcomes: [] } : reply));
  await clock.advance(5000);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 1 });
  fleet.onTheWayBack(undefined);
  await clock.advance(15_000);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0 });
});
