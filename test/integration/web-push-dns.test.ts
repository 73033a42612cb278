/**
 * A sender that knows nothing of us, npm `web-push` as it is, through the loss of the provider that it sends to: it finds
 * the fleet through our own nameservers, over UDP and for no longer than a TTL, and that is all that brings it back.
 * Relays, nameservers and vantages are the processes of production; one provider loses all of its own at once.
 */
import { Agent } from 'node:https';
import { afterEach, beforeEach, expect, test } from 'vitest';
import webPush, { type SendResult } from 'web-push';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscriptionAnywhere, type Subscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { askForAddresses } from '../../fleet/drill/dns-question.ts';
import { createStubResolver, type StubResolver } from '../../fleet/drill/stub-resolver.ts';
import { createFleet, LOCAL_SITES, type LocalFleet, type LocalSiteName } from '../../fleet/local/fleet.ts';
import { canonicalOrigin, siteOrigin } from '../../fleet/manifest/manifest.ts';
import { systemClock as clock } from '../../system/clock.ts';
import { systemRandom as random } from '../../system/random.ts';
import { eventually } from '../support/eventually.ts';

const TEST_MS = 120_000;
const ASK_WITHIN_MS = 1000;
let fleet: LocalFleet;
let zone: string;
let resolver: StubResolver;
let transport: NodeTransport;
let agent: Agent;
/** Addresses that connections of the sender were led to, the last one at the end. */
let ledTo: string[];
/** When a nameserver was last asked on behalf of the sender, monotonic milliseconds. */
let askedMs: number;

async function answerOf(site: LocalSiteName): Promise<readonly string[]> {
  const nameserver = { address: fleet.site(site).layout.vantageAddress, port: fleet.ports.dns };
  const { addresses } = await askForAddresses(nameserver, zone, random, ASK_WITHIN_MS);
  return addresses.toSorted();
}

async function untilAnswerIs(site: LocalSiteName, sites: readonly LocalSiteName[]): Promise<void> {
  const wanted = sites.map((each) => fleet.site(each).layout.relayAddress).toSorted();
  await eventually(
    `${site} answers with ${sites.join(', ')}`,
    async () => {
      const answer = await answerOf(site).catch(() => []);
      return answer.join() === wanted.join() ? true : undefined;
    },
    40_000,
  );
}

beforeEach(async () => {
  fleet = await createFleet({
    store: 'memory',
    relayPort: undefined,
    programs: {},
    clock,
    random,
    onUnexpectedEnd: (what) => console.error(what),
    onVantageLine: () => undefined,
  });
  await fleet.start(AbortSignal.timeout(60_000));
  zone = new URL(canonicalOrigin(fleet.identities.manifest)).hostname;
  for (const site of LOCAL_SITES) await untilAnswerIs(site, LOCAL_SITES);
  ledTo = [];
  askedMs = 0;
  resolver = createStubResolver({
    clock,
    nameservers: LOCAL_SITES.length,
    first: 0,
    ask: (place, name) => {
      const nameserver = { address: fleet.sites[place]?.layout.vantageAddress ?? '', port: fleet.ports.dns };
      askedMs = clock.monotonicMs();
      return askForAddresses(nameserver, name, random, ASK_WITHIN_MS);
    },
  });
  const ca = fleet.identities.authorityPem;
  agent = new Agent({
    ca,
    lookup: (hostname, options, callback) => {
      const answer = async (): Promise<void> => {
        // Only the first address: a connection that tries the others would need no failover.
        const [address = ''] = await resolver.resolve(hostname).catch(() => []);
        ledTo.push(address);
        if (address === '') callback(new Error('no address'), '', 4);
        else if (options.all === true) callback(null, [{ address, family: 4 }]);
        else callback(null, address, 4);
      };
      void answer();
    },
  });
  const lookup = (name: string): Promise<readonly string[]> => resolver.resolve(name);
  transport = createNodeTransport({ clock, ca, lookup, connectTimeoutMs: 2000, keepAlive: false });
}, TEST_MS);

afterEach(async () => {
  agent.destroy();
  transport.close();
  await fleet[Symbol.asyncDispose]();
}, TEST_MS);

function sitesOf(): readonly { readonly origin: string; readonly provider: string }[] {
  return LOCAL_SITES.map((site) => ({
    origin: siteOrigin(fleet.identities.manifest, site),
    provider: site,
  }));
}

function push(to: Subscription, text: string): Promise<SendResult> {
  return webPush.sendNotification(to, text, { agent, TTL: 600, timeout: 5000 });
}

/** Receives from the providers that are left until `count` messages are there. */
async function receive(mailbox: Mailbox, lost: LocalSiteName, count: number): Promise<readonly string[]> {
  const sites = sitesOf().filter(({ provider }) => provider !== lost);
  const canonical = canonicalOrigin(fleet.identities.manifest);
  const options = { transport, clock, random, fleet: { canonicalOrigin: canonical, sites } };
  const receiver = createReceiver({ ...options, mailboxes: [mailbox] });
  const received: string[] = [];
  for await (const message of receiver.messages(AbortSignal.timeout(30_000))) {
    received.push(new TextDecoder().decode(message.content));
    if (received.length === count) break;
  }
  return received;
}

test('web-push is back when the answer of our nameservers has changed, and what it was promised arrives', {
  timeout: TEST_MS,
}, async () => {
  const mailbox = await createMailbox(random);
  const asked = { transport, clock, timeoutMs: 5000 };
  const subscription = await createSubscriptionAnywhere(mailbox, sitesOf(), asked);
  expect(new URL(subscription.endpoint).hostname).toBe(zone);
  const accepted: string[] = [];
  const send = async (text: string): Promise<boolean> => {
    const sent = await push(subscription, text).catch(() => undefined);
    if (sent?.statusCode === 201) accepted.push(text);
    return sent?.statusCode === 201;
  };

  // Until the sender has just asked, so that the answer which leads it to the lost provider has all its time before it.
  const beforeMs = clock.monotonicMs();
  await eventually('a send after a fresh answer', async () =>
    (await send(`before ${accepted.length}`)) && askedMs > beforeMs ? true : undefined,
  );
  const address = ledTo.at(-1);
  const lost = LOCAL_SITES.find((site) => fleet.site(site).layout.relayAddress === address);
  if (lost === undefined) throw new Error(`nobody is at ${address}`);
  const rest = LOCAL_SITES.filter((site) => site !== lost);
  await fleet.site(lost).kill();
  fleet.site(lost).wipe();
  expect(await send('into the void')).toBe(false);
  expect(ledTo.at(-1)).toBe(address);

  for (const site of rest) await untilAnswerIs(site, rest);
  await eventually('a send to a provider that is left', async () =>
    (await send(`back ${accepted.length}`)) ? true : undefined,
  );
  const ledBefore = ledTo.length;
  for (let number = 0; number < 10; number += 1) expect(await send(`after ${number}`)).toBe(true);
  expect(ledTo.slice(ledBefore)).not.toContain(address);
  expect((await receive(mailbox, lost, accepted.length)).toSorted()).toEqual(accepted.toSorted());
});
