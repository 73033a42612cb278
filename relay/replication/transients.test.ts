/** A message that is not stored reaches its recipient at whichever relay that is connected, and nobody keeps it. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import type { Message } from '../core/message.ts';

let fleet: LinkedSites;
const mailbox = createTestMailbox();

beforeEach(async () => {
  fleet = linkSites(['aws', 'gcp', 'hetzner']);
  await fleet.clock.advance(2000);
});

afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
});

function transient(text: string): Message {
  const nowMs = fleet.clock.wallMs();
  return mailbox.message(text, { acceptedMs: nowMs, expiresMs: nowMs });
}

test('it reaches a recipient that is connected to another site, once, and no store has it', async () => {
  const message = transient('one');
  fleet.site('hetzner').connected.add(mailbox.tag);
  fleet.site('aws').replication.transients.sent(message);
  await fleet.clock.settle();
  expect(fleet.site('hetzner').delivered).toEqual([message.id]);
  expect(fleet.site('aws').events.happened).toContain('passedOn');
  expect(fleet.site('aws').events.happened.join()).not.toContain('ttl_zero_not_connected');
  for (const name of ['aws', 'gcp', 'hetzner']) {
    const reference = { kind: 'message', mailbox: mailbox.tag, id: message.id } as const;
    expect(await fleet.site(name).store.load([reference])).toEqual([undefined]);
  }
});

test('it goes nowhere else when its recipient is connected here', async () => {
  for (const name of ['aws', 'gcp']) fleet.site(name).connected.add(mailbox.tag);
  fleet.site('aws').replication.transients.sent(transient('two'));
  await fleet.clock.settle();
  expect([fleet.site('aws').delivered.length, fleet.site('gcp').delivered.length]).toEqual([1, 0]);
  expect(fleet.site('gcp').asked).not.toContain('put');
});

test('it is counted when nobody takes it, also when a site cannot be asked', async () => {
  fleet.between('aws', 'gcp', 'silent');
  fleet.site('aws').replication.transients.sent(transient('three'));
  await fleet.clock.advance(2000);
  expect(fleet.site('aws').events.happened).toContain('discarded ttl_zero_not_connected 1');
});

test('a site whose clock is behind does not store it either', async () => {
  const later = fleet.clock.wallMs() + 60_000;
  const message = mailbox.message('four', { acceptedMs: later, expiresMs: later });
  fleet.site('aws').replication.transients.sent(message);
  await fleet.clock.settle();
  expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([]);
});
