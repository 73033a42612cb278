/**
 * What a page does with the client, for the tests to call from outside: one recipient with two mailboxes, who is
 * also the sender. It loads nothing but client/, so that what works here works on anybody's page.
 */
import { discoverFleet, type Fleet } from '../../client/fleet.ts';
import { createMailbox, importMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createReceiver, type Receiver } from '../../client/receiver.ts';
import { createSender, type Sender } from '../../client/sender.ts';
import { webClock as clock, webRandom as random } from '../../client/web-clock.ts';
import { createWebTransport } from '../../client/web-transport.ts';

interface Conversation {
  readonly fleet: Fleet;
  readonly mailboxes: readonly Mailbox[];
  readonly subscriptions: readonly Subscription[];
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly stop: AbortController;
  readonly texts: string[];
}

export interface Progress {
  /** Each after the place of its mailbox. */
  readonly texts: readonly string[];
  readonly undecryptable: number;
  /** Sockets that are ready now, and those that ended because nothing was heard on them. */
  readonly readyCount: number;
  readonly silentCount: number;
  /** Links that are ready and are no sockets but long-polls. */
  readonly pollCount: number;
}

const transport = createWebTransport(clock);
let conversation: Conversation | undefined;

/**
 * Makes two mailboxes and begins to receive; both sides start at `provider`. Gives the providers of the fleet.
 * @public
 */
export async function begin(canonicalOrigin: string, provider: string): Promise<readonly string[]> {
  const fleet = await discoverFleet(transport, canonicalOrigin, 10_000);
  const made = await createMailbox(random);
  // By way of its export, as after a reload of the page.
  const exported: unknown = JSON.parse(JSON.stringify(await made.export()));
  const kept = await importMailbox(exported as Parameters<typeof importMailbox>[0]);
  const mailboxes = [kept, await createMailbox(random)];
  const siteOrigin = fleet.sites.find((site) => site.provider === provider)?.origin ?? '';
  const asked = { transport, clock, siteOrigin, timeoutMs: 10_000 };
  const subscriptions = await Promise.all(mailboxes.map((mailbox) => createSubscription(mailbox, asked)));
  const common = { transport, clock, random, fleet, preferredProvider: provider };
  const sender = createSender(common);
  const receiver = createReceiver({ ...common, mailboxes });
  const stop = new AbortController();
  const texts: string[] = [];
  conversation = { fleet, mailboxes, subscriptions, sender, receiver, stop, texts };
  void (async () => {
    for await (const { content, mailbox } of receiver.messages(stop.signal)) {
      texts.push(`${mailboxes.indexOf(mailbox)} ${new TextDecoder().decode(content)}`);
    }
  })();
  return fleet.sites.map((site) => site.provider);
}

/**
 * Sends to one of the two mailboxes. Resolves once the fleet has promised to deliver; gives the provider that did.
 * @public
 */
export async function send(place: number, text: string): Promise<string> {
  const { fleet, sender, subscriptions } = current();
  const subscription = subscriptions[place];
  if (subscription === undefined) throw new Error('no such mailbox');
  const accepted = await sender.send(subscription, new TextEncoder().encode(text), { ttlSeconds: 300 });
  return fleet.sites.find(({ origin }) => origin === accepted.origin)?.provider ?? 'any';
}

/**
 * What has arrived so far.
 * @public
 */
export function progress(): Progress {
  const { receiver, texts } = current();
  return {
    texts: [...texts],
    undecryptable: receiver.counts.undecryptable,
    readyCount: receiver.readyCount(),
    silentCount: receiver.counts.ended_silent,
    pollCount: receiver.readyCount('poll'),
  };
}

/**
 * Stops receiving, and counts what the sites still have to send, once each of two providers has sent it all.
 * @public
 */
export async function leftovers(): Promise<number> {
  const { fleet, mailboxes, stop } = current();
  stop.abort();
  let count = 0;
  const looked = new AbortController();
  const late = createReceiver({
    transport,
    clock,
    random,
    fleet,
    mailboxes,
    ackWhen: 'explicit',
    onEvent: (name) => {
      if (name === 'empty' && late.counts.empty >= 2 * mailboxes.length) looked.abort();
    },
  });
  for await (const { coding } of late.messages(looked.signal)) if (coding === 'aes128gcm') count += 1;
  return count;
}

function current(): Conversation {
  if (conversation === undefined) throw new Error('nothing was begun');
  return conversation;
}
