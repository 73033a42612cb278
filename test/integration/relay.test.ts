/**
 * Three relays as processes of their own, used as clients use them: what is accepted arrives, whoever is restarted
 * or
 */
import { request as httpsRequest } from 'node:https';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ReceivedMessage } from '../../client/inbox.ts';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, revokePushUrl, type Subscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { siteOrigin } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;

let sites: RelaySites;
let transport: NodeTransport;

beforeEach(async () => {
  sites = await createRelaySites();
  transport = createNodeTransport({
    clock: systemClock,
    ca: sites.identities.authorityPem,
    lookup: async (hostname) => {
      const layout = sites.layouts.find(({ name }) => hostname.startsWith(`${name}.`)) ?? sites.layouts[0];
      return layout === undefined ? [] : [layout.relayAddress];
    },
    connectTimeoutMs: 2000,
    keepAlive: false,
  });
});

afterEach(async () => {
  transport.close();
  await sites[Symbol.asyncDispose]();
});

function originOf(site: string): string {
  return siteOrigin(sites.identities.manifest, site);
}

async function startAll(): Promise<void> {
  for (const { name } of sites.layouts) sites.start(name);
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
}

async function subscribe(mailbox: Mailbox, site: string): Promise<Subscription> {
  return createSubscription(mailbox, {
    transport,
    clock: systemClock,
    siteOrigin: originOf(site),
    timeoutMs: 5000,
  });
}

/** Sends through one site only; gives the site's answer as an error or nothing. */
async function send(subscription: Subscription, site: string, text: string): Promise<void> {
  const sender = createSender({
    transport,
    clock: systemClock,
    random: systemRandom,
    fleet: {
      canonicalOrigin: new URL(subscription.endpoint).origin,
      sites: [{ origin: originOf(site), provider: site }],
    },
  });
  await sender.send(subscription, new TextEncoder().encode(text), { ttlSeconds: 600 });
}

/** Receives from one site until `count` messages came, and acks them if asked. */
async function receive(
  mailbox: Mailbox,
  site: string,
  count: number,
  ack: boolean,
): Promise<readonly string[]> {
  const receiver = createReceiver({
    transport,
    clock: systemClock,
    random: systemRandom,
    fleet: { canonicalOrigin: originOf(site), sites: [{ origin: originOf(site), provider: site }] },
    mailboxes: [mailbox],
    ackWhen: 'explicit',
  });
  const received: ReceivedMessage[] = [];
  const stopping = AbortSignal.timeout(20_000);
  for await (const message of receiver.messages(stopping)) {
    received.push(message);
    if (ack) message.ack();
    if (received.length === count) break;
  }
  return received.map(({ content }) => new TextDecoder().decode(content)).toSorted();
}

/** How many messages a relay has told of in a metric. */
async function metric(site: string, line: string): Promise<number> {
  const found = (await sites.metrics(site)).split('\n').find((text) => text.startsWith(`${line} `));
  return Number(found?.split(' ').at(-1) ?? 'NaN');
}

/** Posts to a site without any client of ours. */
async function post(
  site: string,
  path: string,
  ttl = '60',
): Promise<{ readonly status: number; readonly retryAfter: string | undefined; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof post>>>();
  const layout = sites.layouts.find(({ name }) => name === site);
  const request = httpsRequest(
    {
      host: layout?.relayAddress,
      port: sites.ports.relay,
      servername: new URL(originOf(site)).hostname,
      ca: sites.identities.authorityPem,
      method: 'POST',
      path,
      headers: { TTL: ttl, 'Content-Encoding': 'aes128gcm' },
      agent: false,
    },
    (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], body }),
      );
    },
  );
  request.on('error', reject).end(ciphertext('a message'));
  return promise;
}

test('what one site accepts is received from another, acked, and gone everywhere', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const subscription = await subscribe(mailbox, 'aws');
  await send(subscription, 'gcp', 'one');
  await send(subscription, 'hetzner', 'two');
  expect(await receive(mailbox, 'aws', 2, true)).toEqual(['one', 'two']);
  // Each of the others was told by a signed ack, and owes nobody anything.
  await eventually('no debts', async () => {
    const lines = await Promise.all(sites.layouts.map(({ name }) => sites.metrics(name)));
    const owed = lines.flatMap((text) => [...text.matchAll(/^relay_owed\{site="\w+"\} (\d+)/gm)]);
    return owed.length === 6 && owed.every(([, count]) => count === '0') ? true : undefined;
  });
  await send(subscription, 'gcp', 'three');
  // Had the acked ones come back, they would come first.
  expect(await receive(mailbox, 'hetzner', 1, true)).toEqual(['three']);
});

test('a relay whose memory is gone is refilled from the others before it wants clients', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const subscription = await subscribe(mailbox, 'aws');
  for (const text of ['one', 'two', 'three']) await send(subscription, 'aws', text);
  await sites.kill('aws');
  // The others accept without it, and owe it what it misses.
  await send(subscription, 'gcp', 'four');
  sites.start('aws');
  await sites.untilStatus('aws', 200);
  expect(sites.output('aws')).toContain('"refilled"');
  expect(await receive(mailbox, 'aws', 4, true)).toEqual(['four', 'one', 'three', 'two']);
});

test('a relay alone accepts nothing, says when to come back, and wants no clients', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const { endpoint } = await subscribe(mailbox, 'aws');
  await Promise.all([sites.kill('gcp'), sites.kill('hetzner')]);
  await sites.untilStatus('aws', 503);
  const refused = await post('aws', new URL(endpoint).pathname);
  expect(refused).toMatchObject({ status: 503, retryAfter: '1' });
  expect(JSON.parse(refused.body)).toMatchObject({ code: 'copies_unreachable' });
  expect(await metric('aws', 'relay_refused_total{code="copies_unreachable"}')).toBe(1);
  sites.start('gcp');
  await sites.untilStatus('aws', 200);
  expect((await post('aws', new URL(endpoint).pathname)).status).toBe(201);
});

/** What each site answers to a message through the same push URL. */
async function statuses({ endpoint }: Subscription): Promise<readonly number[]> {
  const path = new URL(endpoint).pathname;
  return Promise.all(['aws', 'gcp', 'hetzner'].map(async (site) => (await post(site, path)).status));
}

test('a push URL that one site was told to revoke is refused everywhere, also by a site that was away then', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const [revoked, kept] = [await subscribe(mailbox, 'aws'), await subscribe(mailbox, 'aws')];
  // Each site has said and believes that this push URL is good.
  expect(await statuses(revoked)).toEqual([201, 201, 201]);
  await sites.kill('hetzner');
  const origins = [{ origin: originOf('gcp'), provider: 'gcp' }];
  await revokePushUrl(mailbox, revoked.endpoint, origins, { transport, clock: systemClock, timeoutMs: 5000 });
  sites.start('hetzner');
  await sites.untilStatus('hetzner', 200);
  await eventually(
    'everywhere',
    async () => ((await statuses(revoked)).every((status) => status === 410) ? true : undefined),
    15_000,
  );
  expect(await statuses(kept)).toEqual([201, 201, 201]);
});

test('a relay that is stopped for a while is done without, and catches up', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const subscription = await subscribe(mailbox, 'aws');
  sites.signal('hetzner', 'SIGSTOP');
  await send(subscription, 'aws', 'while it was stopped');
  sites.signal('hetzner', 'SIGCONT');
  expect(await receive(mailbox, 'hetzner', 1, true)).toEqual(['while it was stopped']);
});

test('a relay that is told to stop answers what it has begun, and then ends well', {
  timeout: MINUTE_MS,
}, async () => {
  for (const name of ['gcp', 'hetzner']) sites.start(name);
  sites.start('aws', { RELAY_WRITE_DEADLINE_MS: '10000' });
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
  const mailbox = await createMailbox(systemRandom);
  const { endpoint } = await subscribe(mailbox, 'aws');
  // Without a second site a request is under way until the write deadline.
  sites.signal('gcp', 'SIGSTOP');
  sites.signal('hetzner', 'SIGSTOP');
  const underWay = post('aws', new URL(endpoint).pathname);
  await eventually('the request', async () =>
    (await metric('aws', 'relay_requests_under_way')) === 1 ? true : undefined,
  );
  const stopped = sites.stop('aws');
  await sites.untilStatus('aws', 503);
  expect(await metric('aws', 'relay_requests_under_way')).toBe(1);
  sites.signal('gcp', 'SIGCONT');
  sites.signal('hetzner', 'SIGCONT');
  expect((await underWay).status).toBe(201);
  expect(await stopped).toBe(0);
});

/** Opens a WebSocket of a recipient at a site and waits until it is ready. */
async function listen(
  mailbox: Mailbox,
  site: string,
): Promise<{
  readonly heard: readonly string[];
  readonly messages: () => number;
  readonly closed: Promise<number>;
}> {
  const closed = Promise.withResolvers<number>();
  const heard: string[] = [];
  let messages = 0;
  const socket = transport.connect(originOf(site), '/v1/ws', 'relay.v1', {
    onText: (text) => {
      heard.push(text);
      if (text === '{"t":"beat"}') socket.send(text);
      if (heard.length > 1) return;
      void mailbox.token(originOf(site), Math.floor(systemClock.wallMs() / 1000)).then((token) => {
        socket.send(JSON.stringify({ t: 'hello', tokens: [token], window: 1 }));
        return undefined;
      });
    },
    onBinary: () => {
      messages += 1;
    },
    onClose: closed.resolve,
  });
  await eventually('ready', () => (heard.includes('{"t":"ready"}') ? true : undefined));
  return { heard, messages: () => messages, closed: closed.promise };
}

test('a message with no time to live reaches a recipient that is connected to another site', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  const { endpoint } = await subscribe(mailbox, 'aws');
  const { messages } = await listen(mailbox, 'hetzner');
  expect((await post('aws', new URL(endpoint).pathname, '0')).status).toBe(201);
  await eventually('the message', () => (messages() === 1 ? true : undefined));
});

test('a relay that is cut off for a while sends its recipients elsewhere, and takes one that comes back', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  await subscribe(mailbox, 'aws');
  const { heard, closed } = await listen(mailbox, 'aws');
  await Promise.all([sites.kill('gcp'), sites.kill('hetzner')]);
  expect(await closed).toBe(1012);
  expect(heard.map((text) => JSON.parse(text) as unknown)).toContainEqual({
    t: 'drain',
    withinMs: 0,
    alternates: [],
  });
  expect(await metric('aws', 'relay_sessions_total{event="sent_away"}')).toBe(1);
  expect((await listen(mailbox, 'aws')).heard).toContain('{"t":"empty","mailbox":0}');
});

test('a relay that is told to stop sends its recipients elsewhere and ends well', {
  timeout: MINUTE_MS,
}, async () => {
  await startAll();
  const mailbox = await createMailbox(systemRandom);
  await subscribe(mailbox, 'aws');
  const { heard, closed } = await listen(mailbox, 'aws');
  await eventually('the connection', async () =>
    (await metric('aws', 'relay_sessions')) === 1 ? true : undefined,
  );
  // Only sites that it reaches are worth going to.
  for (const peer of ['gcp', 'hetzner']) {
    await eventually(`the link to ${peer}`, async () =>
      (await metric('aws', `relay_peer_up{site="${peer}"}`)) === 1 ? true : undefined,
    );
  }
  expect(await sites.stop('aws')).toBe(0);
  expect(await closed).toBe(1012);
  expect(JSON.parse(heard.at(-1) ?? '')).toEqual({
    t: 'drain',
    withinMs: 0,
    alternates: [originOf('gcp'), originOf('hetzner')],
  });
  expect(sites.output('aws')).not.toContain('"level":"error"');
  expect(await sites.stop('gcp')).toBe(0);
  expect(await sites.stop('hetzner')).toBe(0);
});

test('nothing that a relay writes names a mailbox, a capability, a message or an address', {
  timeout: MINUTE_MS,
}, async () => {
  for (const { name } of sites.layouts) sites.start(name, { RELAY_LOG_LEVEL: 'debug' });
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
  const mailbox = await createMailbox(systemRandom);
  const subscription = await subscribe(mailbox, 'aws');
  await send(subscription, 'aws', 'one');
  await receive(mailbox, 'gcp', 1, true);
  const capability = new URL(subscription.endpoint).pathname.slice('/p/'.length);
  for (const { name } of sites.layouts) {
    const written = sites.output(name) + (await sites.metrics(name));
    expect(written).toContain('relay_accepted_total');
    for (const secret of [capability, capability.slice(6, 30), mailbox.id, '127.0.0.1']) {
      expect(written).not.toContain(secret);
    }
  }
});
