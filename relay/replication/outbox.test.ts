/**
 * What is owed gets drained, whatever the clock said that wrote it down.
 */
import { expect, test } from 'vitest';
import { linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';

test('what was owed while the clock was ahead does not wait for that time to come', async () => {
  await using fleet = linkSites(['aws', 'gcp']);
  const { clock } = fleet;
  await clock.advance(1000);
  const mailbox = createTestMailbox();
  const message = mailbox.message('ahead', {
    acceptedMs: clock.wallMs(),
    expiresMs: clock.wallMs() + 3_600_000,
  });
  await fleet.site('aws').store.insert([{ message, owedTo: ['gcp'] }], clock.wallMs() + 600_000);
  await clock.advance(22_000);
  expect(await fleet.site('gcp').pending(mailbox.tag)).toEqual([message.id]);
  expect(await fleet.site('aws').debts()).toEqual({ gcp: 0 });
});
