/**
 * A recipient that connects to a site which lacks its messages gets them at once from the others.
 */
import { expect, test } from 'vitest';
import { linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';

const HOUR_MS = 3_600_000;

test('what waits elsewhere comes when its recipient connects, and wakes whoever listens', async () => {
  await using fleet = linkSites(['aws', 'gcp', 'hetzner']);
  await fleet.clock.advance(1000);
  const mailbox = createTestMailbox();
  const message = mailbox.message('m', { expiresMs: fleet.clock.wallMs() + HOUR_MS });
  await fleet.site('gcp').store.insert([{ message, owedTo: [] }], fleet.clock.wallMs());
  const { store, replication, events } = fleet.site('aws');
  const woken: string[] = [];
  store.onChange(
    (tag) => woken.push(tag),
    () => true,
  );
  replication.lookFor([mailbox.tag]);
  await fleet.clock.advance(300);
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([message.id]);
  expect(woken).toEqual([mailbox.tag]);
  expect(events.happened).toContain('readRepaired 1');
});

test('what was acked here is not fetched, and a site that does not answer costs no more than the budget', async () => {
  await using fleet = linkSites(['aws', 'gcp', 'hetzner']);
  await fleet.clock.advance(1000);
  const mailbox = createTestMailbox();
  const message = mailbox.message('m', { expiresMs: fleet.clock.wallMs() + HOUR_MS });
  const ack = mailbox.ack([message.id], fleet.clock.wallMs() + HOUR_MS);
  await fleet.site('gcp').store.insert([{ message, owedTo: [] }], fleet.clock.wallMs());
  const { store, replication, events } = fleet.site('aws');
  await store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  fleet.between('aws', 'hetzner', 'silent');
  fleet.site('gcp').asked.length = 0;
  replication.lookFor([mailbox.tag]);
  await fleet.clock.advance(300);
  expect(fleet.site('gcp').asked.filter((type) => type === 'pull')).toEqual([]);
  expect(events.happened).toContain('readRepairLeft failed');
});

test('of a crowd that connects at once most do without', async () => {
  await using fleet = linkSites(['aws', 'gcp', 'hetzner']);
  await fleet.clock.advance(1000);
  const { replication, events } = fleet.site('aws');
  fleet.site('gcp').asked.length = 0;
  replication.lookFor(Array.from({ length: 100 }, () => createTestMailbox().tag));
  await fleet.clock.settle();
  expect(fleet.site('gcp').asked.filter((type) => type === 'waiting')).toHaveLength(32);
  expect(events.happened.filter((event) => event === 'readRepairLeft skipped')).toHaveLength(68);
});

test('what waits at one site and was acked at others is not fetched', async () => {
  await using fleet = linkSites(['aws', 'aws-2', 'gcp', 'hetzner']);
  await fleet.clock.advance(1000);
  const mailbox = createTestMailbox();
  const message = mailbox.message('m', { expiresMs: fleet.clock.wallMs() + HOUR_MS });
  const ack = mailbox.ack([message.id], fleet.clock.wallMs() + HOUR_MS);
  await fleet.site('aws-2').store.insert([{ message, owedTo: [] }], fleet.clock.wallMs());
  for (const name of ['gcp', 'hetzner']) {
    await fleet.site(name).store.bury([{ ack, owedTo: [] }], fleet.clock.wallMs());
  }
  const { replication, events } = fleet.site('aws');
  replication.lookFor([mailbox.tag]);
  await fleet.clock.advance(300);
  expect(await fleet.site('aws').pending(mailbox.tag)).toEqual([]);
  expect(events.happened).toContain('keptBack 1');
});
