/**
 * Senders that know nothing of us: npm `web-push` as it is and `curl`, against three relays as processes of their own, through the
 * restart of a relay. The loss of a provider is in web-push-dns.test.ts.
 */
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import webPush, { type RequestOptions, type SendResult } from 'web-push';
import { createMailbox, type Mailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { siteOrigin } from '../../fleet/manifest/manifest.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';

const MINUTE_MS = 60_000;
const hasCurl = process.env['CI_NO_SKIP'] === '1' || spawnSync('curl', ['--version']).status === 0;

let sites: RelaySites;
let transport: NodeTransport;
let agent: Agent;
/** The site whose address DNS gives for the canonical name. */
let answer: string;

beforeEach(async () => {
  sites = await createRelaySites();
  answer = 'aws';
  transport = createNodeTransport({
    clock: systemClock,
    ca: sites.identities.authorityPem,
    lookup: async (hostname) => [addressOf(hostname)],
    connectTimeoutMs: 2000,
    keepAlive: false,
  });
  agent = new Agent({
    ca: sites.identities.authorityPem,
    lookup: (hostname, options, callback) => {
      const address = addressOf(hostname);
      if (options.all === true) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    },
  });
  for (const { name } of sites.layouts) sites.start(name);
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
});

afterEach(async () => {
  agent.destroy();
  transport.close();
  await sites[Symbol.asyncDispose]();
});

function addressOf(hostname: string): string {
  const site = sites.layouts.find(({ name }) => hostname.startsWith(`${name}.`));
  const layout = site ?? sites.layouts.find(({ name }) => name === answer);
  return layout?.relayAddress ?? '';
}

function originOf(site: string): string {
  return siteOrigin(sites.identities.manifest, site);
}

function subscribe(mailbox: Mailbox): Promise<Subscription> {
  return createSubscription(mailbox, {
    transport,
    clock: systemClock,
    siteOrigin: originOf('aws'),
    timeoutMs: 5000,
  });
}

function push(to: Subscription, text: string, options: RequestOptions = {}): Promise<SendResult> {
  return webPush.sendNotification(to, text, { agent, TTL: 600, timeout: 5000, ...options });
}

/** Receives `count` messages from one site and acks them. */
async function receive(mailbox: Mailbox, site: string, count: number): Promise<readonly string[]> {
  const receiver = createReceiver({
    transport,
    clock: systemClock,
    random: systemRandom,
    fleet: { canonicalOrigin: originOf(site), sites: [{ origin: originOf(site), provider: site }] },
    mailboxes: [mailbox],
    ackWhen: 'explicit',
  });
  const received: string[] = [];
  for await (const message of receiver.messages(AbortSignal.timeout(20_000))) {
    received.push(new TextDecoder().decode(message.content));
    message.ack();
    if (received.length === count) break;
  }
  return received.toSorted();
}

/** Posts through gcp; gives head and body of the answer. */
async function curl(endpoint: string, ...options: readonly string[]): Promise<string> {
  answer = 'gcp';
  const { hostname, port } = new URL(endpoint);
  const resolve = `${hostname}:${port}:${addressOf(hostname)}`;
  const trust = ['--cacert', sites.identities.files.authority, '--resolve', resolve];
  const all = ['--silent', '--include', ...trust, '--header', 'TTL: 60', ...options, endpoint];
  const { stdout } = await promisify(execFile)('curl', all);
  return stdout;
}

describe('web-push', () => {
  test('sends through the restart of a relay', { timeout: MINUTE_MS }, async () => {
    const mailbox = await createMailbox(systemRandom);
    const subscription = await subscribe(mailbox);
    const first = await push(subscription, 'before', { urgency: 'high', topic: 'news' });
    expect(first).toMatchObject({ statusCode: 201, headers: { ttl: '600' } });
    expect(await sites.stop('aws')).toBe(0);
    await expect(push(subscription, 'meanwhile')).rejects.toThrow('ECONNREFUSED');
    sites.start('aws');
    await sites.untilStatus('aws', 200);
    expect(await push(subscription, 'after')).toMatchObject({ statusCode: 201 });
    expect(await receive(mailbox, 'aws', 2)).toEqual(['after', 'before']);
  });

  test('hears why when it is wrong', { timeout: MINUTE_MS }, async () => {
    const subscription = await subscribe(await createMailbox(systemRandom));
    const damaged = { ...subscription, endpoint: `${subscription.endpoint}A` };
    await expect(push(damaged, 'x')).rejects.toMatchObject({ statusCode: 404 });
    await expect(push(subscription, 'x'.repeat(70_000))).rejects.toMatchObject({ statusCode: 413 });
  });

  test('wakes a recipient up with a message of nothing', { timeout: MINUTE_MS }, async () => {
    const mailbox = await createMailbox(systemRandom);
    const { endpoint } = await subscribe(mailbox);
    const sent = await webPush.sendNotification({ endpoint }, null, { agent, TTL: 600 });
    expect(sent.statusCode).toBe(201);
    expect(await receive(mailbox, 'gcp', 1)).toEqual(['']);
  });
});

describe.skipIf(!hasCurl)('curl (skipped where it is missing)', () => {
  test('is a sender, with nothing but an address', { timeout: MINUTE_MS }, async () => {
    const { endpoint } = await subscribe(await createMailbox(systemRandom));
    const file = join(sites.directory, 'body');
    writeFileSync(file, ciphertext('a message', 2000));
    const encrypted = ['--header', 'Content-Encoding: aes128gcm', '--data-binary', `@${file}`];
    const accepted = await curl(endpoint, ...encrypted);
    expect(accepted).toMatch(/^HTTP\/1\.1 201 /);
    expect(accepted).toMatch(/^ttl: 60\r$/im);
    const location = /^location: (https:\/\/\S+\/m\/[A-Za-z0-9_-]+)\r$/im;
    expect(accepted).toMatch(location);
    const chunked = await curl(endpoint, '--header', 'Transfer-Encoding: chunked', ...encrypted);
    expect(chunked).toMatch(/^HTTP\/1\.1 201 /);
    expect(location.exec(chunked)?.[1]).toBe(location.exec(accepted)?.[1]);
  });

  test('that forgot to encrypt is told so', { timeout: MINUTE_MS }, async () => {
    const { endpoint } = await subscribe(await createMailbox(systemRandom));
    const refused = await curl(endpoint, '--header', 'Content-Type: text/plain', '--data-binary', 'in clear');
    expect(refused).toMatch(/^HTTP\/1\.1 415 /);
    expect(refused).toContain('"code":"not_encrypted"');
  });
});
