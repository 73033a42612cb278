/**
 * Three sites under random faults: wires are cut, fall silent and lose answers, and at any moment a site loses its
 * memory, once until everything has two copies again. Whatever was accepted is at every site in the end, unless it
 * was acked; what was acked is at none.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LinkedSites, linkSites } from '../../test/support/linked-sites.ts';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import type { MessageId } from '../core/message.ts';

const SITES = ['aws', 'gcp', 'hetzner'] as const;
const STATES = ['whole', 'whole', 'cut', 'silent', 'lose answers'] as const;
const site = fc.constantFrom(...SITES);

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('accept' as const), site }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('ack' as const), site, which: fc.nat(20) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('wire' as const),
        site,
        other: site,
        state: fc.constantFrom(...STATES),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wipe' as const), site }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(3000) }) },
  ),
  { minLength: 5, maxLength: 40 },
);

/** Nothing is owed and nobody recovers. */
async function isRestored(fleet: LinkedSites): Promise<boolean> {
  for (const name of SITES) {
    const at = fleet.site(name);
    if (at.replication.isRecovering()) return false;
    if (Object.values(await at.debts()).some((count) => count > 0)) return false;
  }
  return true;
}

test('no accepted message is lost, and no acked one comes back', async () => {
  let accepts = 0;
  let wipes = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      await using fleet = linkSites(SITES);
      const { clock } = fleet;
      const mailbox = createTestMailbox();
      const accepted = new Set<MessageId>();
      const acked = new Set<MessageId>();
      /** Acked, but a site lost its memory before all knew. */
      const forgotten = new Set<MessageId>();
      const offers: Promise<void>[] = [];
      let wiped: string | undefined;
      await clock.advance(1000);
      for (const [index, step] of script.entries()) {
        // A second loss is inside the promise once the first is made good.
        const isRefilled = wiped !== undefined && fleet.site(wiped).events.happened.includes('recovered');
        if (isRefilled && (await isRestored(fleet))) wiped = undefined;
        switch (step.do) {
          case 'accept': {
            const acceptedMs = clock.wallMs();
            const message = mailbox.message(`m${index}`, { acceptedMs, expiresMs: acceptedMs + 3_600_000 });
            const offer = async (): Promise<void> => {
              const acceptance = await fleet.site(step.site).replication.acceptor.accept(message);
              if (acceptance === 'accepted') accepted.add(message.id);
            };
            offers.push(offer());
            await clock.settle();
            break;
          }
          case 'ack': {
            const ids = [...accepted].slice(step.which, step.which + 2);
            if (ids.length === 0) break;
            await fleet
              .site(step.site)
              .replication.acceptor.bury(mailbox.ack(ids, clock.wallMs() + 3_600_000));
            for (const id of ids) acked.add(id);
            break;
          }
          case 'wire':
            if (step.site !== step.other) fleet.between(step.site, step.other, step.state);
            break;
          case 'wipe':
            if (wiped !== undefined) break;
            // One site is enough for an ack: a loss before others know of it brings messages back, and loses none.
            if (!(await isRestored(fleet))) for (const id of acked) forgotten.add(id);
            fleet.site(step.site).events.happened.length = 0;
            fleet.site(step.site).wipe();
            wiped = step.site;
            wipes += 1;
            break;
          case 'wait':
            await clock.advance(step.ms);
            break;
        }
      }
      for (const name of SITES) fleet.around(name, 'whole');
      await clock.advance(20_000);
      await Promise.all(offers);
      accepts += accepted.size;
      for (const name of SITES) {
        const held = new Set(await fleet.site(name).pending(mailbox.tag));
        for (const id of accepted) {
          if (!forgotten.has(id)) expect(held.has(id), `accepted, at ${name}`).toBe(!acked.has(id));
        }
      }
      expect(await isRestored(fleet)).toBe(true);
    }),
    { numRuns: 80 },
  );
  // The script has done what it is for.
  expect(accepts).toBeGreaterThan(50);
  expect(wipes).toBeGreaterThan(5);
}, 60_000);
