/**
 * What comparing two sites costs, by how much they store and by how much differs: one comparison between two stores, each
 * on a real Redis of its own, with every frame counted. `node test/bench/comparison.ts` prints a table; it needs
 * `redis-server` and about a minute.
 */
import { encodePeerFrame, type PeerReply, type PeerRequest } from '../../relay/core/peer-frame.ts';
import type { MessageStore, PeerLink } from '../../relay/ports.ts';
import { takeWhatIsLacking } from '../../relay/replication/comparison.ts';
import { createPeerService } from '../../relay/replication/peer-service.ts';
import { systemClock } from '../../system/clock.ts';
import { createTestMailbox, TEST_PEPPER, type TestMailbox } from '../support/mailbox.ts';
import { testManifest } from '../support/manifests.ts';
import { createRecordedEvents } from '../support/recorded-events.ts';
import { startRedis } from '../support/redis-server.ts';
import { openTestStore } from '../support/redis-store.ts';

const STORED = [10_000, 100_000] as const;
const DIFFERENT = [0, 1, 10, 100, 1000] as const;
const BODY_BYTES = 1024;
const BATCH = 1000;
const HOUR_MS = 3_600_000;

await using resources = new AsyncDisposableStack();
const stores: MessageStore[] = [];
for (const _ of ['here', 'there']) {
  const server = await startRedis();
  resources.defer(() => server.stop());
  const store = await openTestStore(server);
  resources.defer(() => store.close());
  stores.push(store);
}
const [here, there] = stores;
const sites = testManifest(['aws', 'gcp']).sites;
const [, gcp] = sites;
if (here === undefined || there === undefined || gcp === undefined) throw new Error('no stores');
const events = createRecordedEvents();
const serve = createPeerService({
  own: gcp.name,
  sites,
  pepper: TEST_PEPPER,
  store: there,
  clock: systemClock,
  events,
  arrivedNow: () => 'expired',
  replaceOlder: async () => undefined,
});
let bytes = 0;
const link: PeerLink = {
  site: gcp.name,
  provider: gcp.provider,
  isUp: () => true,
  call: async (request: PeerRequest): Promise<PeerReply> => {
    const reply = await serve(request, 'aws');
    bytes += encodePeerFrame(1, request).length + encodePeerFrame(1, reply).length;
    return reply;
  },
};
const mailboxes: readonly TestMailbox[] = Array.from({ length: 2000 }, createTestMailbox);
let made = 0;

/** Stores `count` new messages in each of `into`. */
async function fill(count: number, into: readonly MessageStore[]): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const insertions = Array.from({ length: Math.min(left, BATCH) }, () => {
      made += 1;
      const acceptedMs = systemClock.wallMs();
      const fields = { acceptedMs, expiresMs: acceptedMs + HOUR_MS, body: Buffer.alloc(BODY_BYTES) };
      const mailbox = mailboxes[made % mailboxes.length] ?? createTestMailbox();
      return { message: mailbox.message(`${made}`, fields), owedTo: [] };
    });
    for (const store of into) await store.insert(insertions, systemClock.wallMs());
  }
}

const lines = ['stored   different  milliseconds  kilobytes  listed'];
for (const stored of STORED) {
  await fill(stored - made, [here, there]);
  for (const different of DIFFERENT) {
    await fill(different, [there]);
    bytes = 0;
    const startedMs = systemClock.monotonicMs();
    const { listed, taken } = await takeWhatIsLacking(
      link,
      { marginMs: 60_000, confirmMs: 0 },
      {
        store: here,
        clock: systemClock,
        expiryWallMs: () => systemClock.wallMs(),
        events,
        pepper: TEST_PEPPER,
      },
    );
    const tookMs = systemClock.monotonicMs() - startedMs;
    if (taken !== different) throw new Error(`took ${taken} of ${different}`);
    const figures = [
      tookMs.toFixed(0).padStart(12),
      (bytes / 1000).toFixed(1).padStart(9),
      String(listed).padStart(6),
    ];
    lines.push([String(stored).padEnd(8), String(different).padEnd(9), ...figures].join('  '));
  }
}
process.stdout.write(`${lines.join('\n')}\n`);
