/**
 * Copies coming in, messages going out: each once, whatever the order of copies, takes and acks.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { toBase64url } from './bytes.ts';
import type { MessageFrame } from './frames.ts';
import { Inbox, type InboxEvent } from './inbox.ts';
import type { Link } from './link.ts';
import { createMailbox } from './mailbox.ts';
import { webClock, webRandom } from './web-clock.ts';

const mailbox = await createMailbox(webRandom);
const never = new AbortController().signal;
/** A signal that lets `take` only have what is there already. */
const now = (): AbortSignal => AbortSignal.timeout(20);

const links = ['aws', 'gcp', 'hetzner'].map(
  (provider) => ({ site: { origin: `https://${provider}`, provider } }) as unknown as Link,
);
const [aws, gcp] = links as [Link, Link];

function frame(number: number, overrides: Partial<MessageFrame> = {}): MessageFrame {
  const id = toBase64url(new Uint8Array(16).fill(number));
  const body = Uint8Array.of(number);
  return { mailbox: 0, id, acceptedSeconds: 1, secondsLeft: 60, coding: 'message/mls', body, ...overrides };
}

interface Fixture {
  readonly inbox: Inbox;
  readonly acked: { readonly id: string; readonly by: readonly string[] }[];
  readonly noted: InboxEvent[];
}

function createFixture(limits: { readonly queueMax?: number; readonly copiesNeeded?: number } = {}): Fixture {
  const acked: { id: string; by: readonly string[] }[] = [];
  const noted: InboxEvent[] = [];
  const inbox = new Inbox({
    mailboxes: [mailbox, mailbox],
    clock: webClock,
    acks: {
      add: (_place, id, from) => void acked.push({ id, by: [...from].map(({ site }) => site.provider) }),
      flush: () => Promise.resolve(),
    },
    note: (event) => void noted.push(event),
    idsMax: 1000,
    queueMax: () => limits.queueMax ?? 1000,
    copiesNeeded: () => limits.copiesNeeded ?? 2,
  });
  return { inbox, acked, noted };
}

test('a message is acked once, wherever copies came from', async () => {
  const { acked, inbox } = createFixture();
  inbox.arrived(aws, frame(1));
  inbox.arrived(gcp, frame(1));
  const message = await inbox.take(never);
  expect(acked).toEqual([]);
  message?.ack();
  message?.ack();
  expect(acked).toEqual([{ id: frame(1).id, by: ['aws', 'gcp'] }]);
});

test('a copy that comes after the ack is acked at once, and only where it came from', async () => {
  const { acked, inbox } = createFixture();
  inbox.arrived(aws, frame(1));
  (await inbox.take(never))?.ack();
  inbox.arrived(gcp, frame(1));
  expect(acked[1]).toEqual({ id: frame(1).id, by: ['gcp'] });
  expect(await inbox.take(now())).toBeUndefined();
});

test('the same id in two mailboxes is two messages', async () => {
  const { inbox } = createFixture();
  inbox.arrived(aws, frame(1));
  inbox.arrived(aws, frame(1, { mailbox: 1 }));
  expect(await inbox.take(now())).toBeDefined();
  expect(await inbox.take(now())).toBeDefined();
});

test('when there is no room, a new message is turned away and a copy is not', async () => {
  const { inbox } = createFixture({ queueMax: 1 });
  expect(inbox.arrived(aws, frame(1))).toBe(true);
  expect(inbox.arrived(aws, frame(2))).toBe(false);
  expect(inbox.arrived(gcp, frame(1))).toBe(true);
  await inbox.take(never);
  expect(inbox.arrived(aws, frame(2))).toBe(true);
});

test('a copy that comes while another is being tried is tried next', async () => {
  const { inbox, noted } = createFixture();
  inbox.arrived(aws, frame(1, { coding: 'aes128gcm', body: new Uint8Array(200) }));
  inbox.arrived(gcp, frame(1));
  expect((await inbox.take(never))?.content).toEqual(Uint8Array.of(1));
  expect(noted).toContain('copy_undecryptable');
});

test('of copies that come while one is being tried, so many are kept and no more', async () => {
  const { inbox, noted } = createFixture();
  const rubbish = frame(1, { coding: 'aes128gcm', body: new Uint8Array(200) });
  for (let copy = 0; copy < 100; copy += 1) inbox.arrived(aws, rubbish);
  expect(await inbox.take(now())).toBeUndefined();
  // The one that is being tried, and four that wait.
  expect(noted.filter((event) => event === 'copy_undecryptable')).toHaveLength(5);
});

test('the same provider twice does not prove a message lost', async () => {
  const { acked, inbox } = createFixture();
  const rubbish = frame(1, { coding: 'aes128gcm', body: new Uint8Array(200) });
  inbox.arrived(aws, rubbish);
  expect(await inbox.take(now())).toBeUndefined();
  inbox.arrived(aws, rubbish);
  expect(await inbox.take(now())).toBeUndefined();
  expect(acked).toEqual([]);
  inbox.arrived(gcp, rubbish);
  expect(await inbox.take(now())).toBeUndefined();
  expect(acked).toEqual([{ id: rubbish.id, by: ['aws', 'gcp'] }]);
});

test('in any order of copies, takes and acks, each message is delivered and acked exactly once', async () => {
  const copy = fc.record({ type: fc.constant('copy' as const), number: fc.nat(8), from: fc.nat(2) });
  const step = fc.oneof(copy, fc.constant({ type: 'take' as const }), fc.constant({ type: 'ack' as const }));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      const { acked, inbox } = createFixture();
      const arrived = new Set<string>();
      const delivered: string[] = [];
      const inHand: (() => void)[] = [];
      const deliverOne = async (): Promise<void> => {
        if (delivered.length === arrived.size) return;
        const message = await inbox.take(never);
        if (message === undefined) throw new Error('nothing to take');
        delivered.push(message.id);
        inHand.push(() => message.ack());
      };
      for (const each of steps) {
        if (each.type === 'take') await deliverOne();
        else if (each.type === 'ack') inHand.pop()?.();
        else {
          inbox.arrived(links[each.from] ?? aws, frame(each.number));
          arrived.add(frame(each.number).id);
        }
      }
      while (delivered.length < arrived.size) await deliverOne();
      for (const ack of inHand) ack();
      expect(new Set(delivered)).toEqual(arrived);
      expect(delivered).toHaveLength(arrived.size);
      expect(new Set(acked.map(({ id }) => id))).toEqual(arrived);
    }),
  );
});
