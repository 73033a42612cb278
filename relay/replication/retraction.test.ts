/** What one site is told to delete without a recipient's signature is deleted everywhere, and stays so. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { createRetraction, RETRACTION_COUNT_AT } from '../core/retraction.ts';

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
  const retraction = mailbox.retraction([message.id], acceptedMs + 3_600_000);
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

test('a site that has only its copies deletes nothing at the others', async () => {
  const acceptedMs = fleet.clock.wallMs();
  const message = mailbox.message('m', { acceptedMs, expiresMs: acceptedMs + 3_600_000 });
  const accepted = fleet.site('aws').replication.acceptor.accept(message);
  await fleet.clock.advance(fleet.deadlineMs);
  expect(await accepted).toBe('accepted');
  // All that gcp can make up: an opening of its own, with or without the commitment of the message.
  const opening = Buffer.alloc(16, 1).toString('base64url');
  const forged = createRetraction(mailbox.tag, [{ id: message.id, opening }], acceptedMs);
  const pretended = Buffer.from(forged.record);
  Buffer.from(message.commitment, 'base64url').copy(pretended, RETRACTION_COUNT_AT + 2 + 16);
  const bury = (record: Uint8Array): Promise<unknown> =>
    fleet.site('aws').replication.service({ type: 'bury', records: [{ record, holders: [] }] }, 'gcp');
  expect(await bury(pretended)).toEqual({ type: 'refused', reason: 'bad_signature' });
  await bury(forged.record);
  await fleet.clock.advance(10_000);
  for (const name of NAMES) expect(await fleet.site(name).pending(mailbox.tag), name).toEqual([message.id]);
});
