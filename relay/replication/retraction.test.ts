/** What one site is told to delete without a recipient's signature is deleted everywhere, and stays so. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox, TEST_PEPPER } from '../../test/support/mailbox.ts';
import { createRetraction } from '../core/retraction.ts';

const NAMES = ['aws', 'gcp', 'hetzner'];
const mailbox = createTestMailbox();
let fleet: LinkedSites;

beforeEach(async () => {
  fleet = linkSites(NAMES);
  await fleet.clock.advance(5000);
});

afterEach(() => fleet[Symbol.asyncDispose]());

test('a retraction reaches sites that were away, and one that has lost its memory', async () => {
  const acceptedMs = fleet.clock.wallMs();
  const message = mailbox.message('m', { acceptedMs, expiresMs: acceptedMs + 3_600_000 });
  const accepted = fleet.site('aws').replication.acceptor.accept(message);
  await fleet.clock.advance(fleet.deadlineMs);
  expect(await accepted).toBe('accepted');
  fleet.around('hetzner', 'cut');
  const retraction = createRetraction(mailbox.tag, [message.id], acceptedMs + 3_600_000, TEST_PEPPER);
  const buried = fleet.site('gcp').replication.acceptor.bury(retraction);
  await fleet.clock.settle();
  await buried;
  fleet.around('hetzner', 'whole');
  await fleet.clock.advance(10_000);
  for (const name of NAMES) expect(await fleet.site(name).pending(mailbox.tag), name).toEqual([]);
  fleet.site('aws').wipe();
  await fleet.clock.advance(10_000);
  const [outcome] = await fleet.site('aws').store.insert([{ message, owedTo: [] }], fleet.clock.wallMs());
  expect(outcome).toBe('buried');
});

test('a retraction that this fleet did not make is refused', async () => {
  const acceptedMs = fleet.clock.wallMs();
  const message = mailbox.message('m', { acceptedMs, expiresMs: acceptedMs + 3_600_000 });
  const forged = createRetraction(mailbox.tag, [message.id], acceptedMs, new Uint8Array(32));
  const reply = await fleet
    .site('aws')
    .replication.service({ type: 'bury', records: [{ record: forged.record, holders: [] }] }, 'gcp');
  expect(reply).toEqual({ type: 'refused', reason: 'bad_signature' });
});
