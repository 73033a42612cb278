/**
 * Sessions against a model of the store, with answers in every order: nothing is lost, nothing starves, nothing is
 * sent twice, the window holds, and "empty" is true.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTestMailbox } from '../../test/support/mailbox.ts';
import { ackFrame, SESSION_CONFIG, SessionDriver } from '../../test/support/session-driver.ts';
import type { SignedAck } from './ack.ts';
import type { Message } from './message.ts';

const MAILBOXES = [createTestMailbox(), createTestMailbox()];

type Step =
  /** A message arrives, accepted `lateMs` ago at another site. */
  | { readonly do: 'insert'; readonly mailbox: number; readonly lateMs: number }
  /** The store reads for the oldest fetch; the answer arrives later. */
  | { readonly do: 'read' }
  | { readonly do: 'answer'; readonly which: number }
  /** The recipient acks some of what it has; the store deletes; the answer arrives later. */
  | { readonly do: 'ack'; readonly mailbox: number; readonly count: number }
  | { readonly do: 'delete' }
  | { readonly do: 'buried'; readonly which: number }
  /** Another connection acks a message. */
  | { readonly do: 'acked elsewhere'; readonly mailbox: number; readonly which: number }
  | { readonly do: 'notify' }
  | { readonly do: 'tick' };

const place = fc.nat(MAILBOXES.length - 1);
const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('insert' as const), mailbox: place, lateMs: fc.nat(5) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(3) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('ack' as const),
        mailbox: place,
        count: fc.integer({ min: 1, max: 3 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('buried' as const), which: fc.nat(3) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('acked elsewhere' as const), mailbox: place, which: fc.nat(9) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('notify' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  ),
  { maxLength: 120 },
);

interface Read {
  readonly mailbox: number;
  readonly messages: readonly Message[];
  /** What was there when the fetch was asked for, and so must have been sent when "empty" is said. */
  readonly owed: readonly Message[];
}

class Model {
  readonly driver = new SessionDriver();
  readonly #window: number;
  readonly #stored: Message[][] = MAILBOXES.map(() => []);
  /** Sent to the recipient and not acked by it. */
  readonly #held: Message[][] = MAILBOXES.map(() => []);
  readonly #sent = new Set<string>();
  readonly #gone = new Set<string>();
  readonly #fetchesSeen: { readonly mailbox: number; readonly limit: number; readonly owed: Message[] }[] =
    [];
  readonly #reads: Read[] = [];
  readonly #deletions: SignedAck[] = [];
  readonly #burials: SignedAck[] = [];
  readonly #notices: number[] = [];
  #heard = 0;
  #names = 0;
  readonly all: Message[] = [];

  constructor(window: number) {
    this.#window = window;
    this.driver.open(MAILBOXES, window);
    this.#observe();
  }

  run(step: Step): void {
    switch (step.do) {
      case 'insert': {
        const acceptedMs = 1000 + this.#names - step.lateMs;
        const message = MAILBOXES[step.mailbox]?.message(`m${this.#names}`, { acceptedMs, expiresMs: 1e12 });
        const stored = this.#stored[step.mailbox];
        if (message === undefined || stored === undefined) return;
        this.#names += 1;
        stored.push(message);
        stored.sort(inOrder);
        this.all.push(message);
        this.#notices.push(step.mailbox);
        break;
      }
      case 'read': {
        const fetch = this.#fetchesSeen.shift();
        if (fetch === undefined) return;
        const messages = (this.#stored[fetch.mailbox] ?? []).slice(0, fetch.limit);
        this.#reads.push({ mailbox: fetch.mailbox, messages, owed: fetch.owed });
        break;
      }
      case 'answer': {
        const [read] = this.#reads.splice(step.which % Math.max(1, this.#reads.length), 1);
        if (read === undefined) return;
        this.driver.handle({ type: 'fetched', mailbox: read.mailbox, messages: read.messages });
        this.#observe(read);
        break;
      }
      case 'ack': {
        const held = this.#held[step.mailbox] ?? [];
        // What is gone already was acked on another connection, and need not be acked here.
        const acked = held.filter(({ id }) => !this.#gone.has(id)).slice(0, step.count);
        this.#held[step.mailbox] = held.filter((message) => !acked.includes(message));
        const mailbox = MAILBOXES[step.mailbox];
        if (acked.length === 0 || mailbox === undefined) return;
        const ids = acked.map(({ id }) => id);
        this.driver.handle({ type: 'binary', bytes: ackFrame(step.mailbox, mailbox, ids) });
        this.#observe();
        break;
      }
      case 'delete': {
        const ack = this.#deletions.shift();
        if (ack === undefined) return;
        this.#delete(ack.ids);
        this.#burials.push(ack);
        break;
      }
      case 'buried': {
        const [ack] = this.#burials.splice(step.which % Math.max(1, this.#burials.length), 1);
        if (ack === undefined) return;
        this.driver.handle({ type: 'buried', ack, done: true });
        this.#observe();
        break;
      }
      case 'acked elsewhere': {
        const stored = this.#stored[step.mailbox] ?? [];
        const message = stored[step.which % Math.max(1, stored.length)];
        if (message !== undefined) this.#delete([message.id]);
        break;
      }
      case 'notify': {
        const index = this.#notices.shift();
        const tag = MAILBOXES[index ?? -1]?.tag;
        if (tag === undefined) return;
        this.driver.handle({ type: 'changed', tag });
        this.#observe();
        break;
      }
      case 'tick':
        this.driver.handle({ type: 'text', text: '{"t":"beat"}' });
        this.driver.tick(500);
        this.#observe();
        break;
    }
  }

  /** Lets everything finish, with a recipient that acks what it gets, in less time than a second look takes. */
  finish(): void {
    for (let passedMs = 0; passedMs < SESSION_CONFIG.lookAgainMs - 20_000; passedMs += 500) {
      for (let left = 8; left > 0; left -= 1) {
        for (const what of ['notify', 'read', 'delete'] as const) this.run({ do: what });
        for (const what of ['answer', 'buried'] as const) this.run({ do: what, which: 0 });
        for (const mailbox of MAILBOXES.keys()) this.run({ do: 'ack', mailbox, count: 99 });
      }
      this.run({ do: 'tick' });
    }
  }

  #delete(ids: readonly string[]): void {
    for (const [index, stored] of this.#stored.entries()) {
      for (const id of ids) {
        const at = stored.findIndex((message) => message.id === id);
        if (at < 0) continue;
        stored.splice(at, 1);
        this.#gone.add(id);
        this.#notices.push(index);
      }
    }
  }

  /** Takes over what the session did, and holds it against the promises. */
  #observe(answered?: Read): void {
    for (let fetch = this.driver.take('fetch'); fetch !== undefined; fetch = this.driver.take('fetch')) {
      const owed = [...(this.#stored[fetch.mailbox] ?? [])];
      this.#fetchesSeen.push({ mailbox: fetch.mailbox, limit: fetch.limit, owed });
    }
    for (let bury = this.driver.take('bury'); bury !== undefined; bury = this.driver.take('bury')) {
      this.#deletions.push(bury.ack);
    }
    for (const frame of this.driver.heard.slice(this.#heard)) {
      if ('id' in frame) {
        const message = this.all.find(({ id }) => id === frame.id);
        if (message === undefined) throw new Error('a message from nowhere');
        expect(message.mailbox, 'a message of another mailbox').toBe(MAILBOXES[frame.mailbox]?.tag);
        expect(this.#sent.has(frame.id), 'sent twice').toBe(false);
        this.#sent.add(frame.id);
        this.#held[frame.mailbox]?.push(message);
      } else if (frame.t === 'empty') {
        const left = answered?.owed.filter(({ id }) => !this.#sent.has(id) && !this.#gone.has(id));
        expect(left, 'said "empty" and was not').toEqual([]);
      }
    }
    this.#heard = this.driver.heard.length;
    expect(this.driver.session.onTheWay).toBeLessThanOrEqual(this.#window);
    const unacked = this.#held.flat().filter(({ id }) => !this.#gone.has(id));
    expect(unacked.length, 'more on the way than the window').toBeLessThanOrEqual(this.#window);
    expect(this.driver.closed).toEqual([]);
  }

  get neverSent(): readonly Message[] {
    return this.all.filter(({ id }) => !this.#sent.has(id) && !this.#gone.has(id));
  }
}

function inOrder(a: Message, b: Message): number {
  return (
    a.acceptedMs - b.acceptedMs ||
    Buffer.compare(Buffer.from(a.id, 'base64url'), Buffer.from(b.id, 'base64url'))
  );
}

test('whatever the order of answers, every message that is not acked elsewhere is sent once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), steps, (window, script) => {
      const model = new Model(window);
      for (const step of script) model.run(step);
      model.finish();
      expect(model.neverSent).toEqual([]);
      expect(model.driver.said('empty')).toBe(MAILBOXES.length);
    }),
    { numRuns: 300 },
  );
});
