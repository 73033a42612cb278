/**
 * The client in a real browser against the real relays of three sites: what Node's tests cannot show is that the
 * same files run there unbundled, past CORS, with the browser's own cryptography, fetch and WebSocket.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientExample } from '../support/client-example.ts';
import { eventually } from '../support/eventually.ts';
import { startMeddlingProxy } from '../support/meddling-proxy.ts';
import { createRelaySites, type RelaySites } from '../support/relay-sites.ts';
import { type Chromium, chromiumMissing, type Page, startChromium } from './chromium.ts';
import type * as PageModule from './page.ts';
import { type PageServer, startPageServer } from './page-server.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
const TEST_MS = 90_000;
let sites: RelaySites;
let server: PageServer;
let chromium: Chromium;
let page: Page;
let canonicalOrigin: string;

type PageName = keyof typeof PageModule;

/** Calls a function of page.ts in the page. */
async function call<Name extends PageName>(
  name: Name,
  ...parameters: Parameters<(typeof PageModule)[Name]>
): Promise<Awaited<ReturnType<(typeof PageModule)[Name]>>> {
  const list = JSON.stringify(parameters);
  const value = await page.evaluate(
    `import('/test/browser/page.ts').then((page) => page.${name}(...${list}))`,
  );
  return value as Awaited<ReturnType<(typeof PageModule)[Name]>>;
}

function publicKeyHash(site: string): string {
  const { publicKey } = new X509Certificate(readFileSync(sites.identities.siteFile(site, 'relay.pem')));
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');
}

/** Starts a browser that finds each relay at the address that is given for the relay's own. */
async function browse(addressFor: (relayAddress: string) => string): Promise<void> {
  const hosts = sites.layouts.map(({ name, relayAddress }) => [
    `${name}.relay.test`,
    addressFor(relayAddress),
  ]);
  const hetzner = addressFor(sites.layouts.at(-1)?.relayAddress ?? '');
  chromium = await startChromium({
    hosts: { ...Object.fromEntries(hosts), 'relay.test': hetzner },
    trustedKeys: SITES.map(publicKeyHash),
  });
  page = await chromium.open(server.origin);
}

const proxyAddressOf = (relayAddress: string): string => relayAddress.replace(/1$/, '4');

async function untilReceived(count: number): Promise<PageModule.Progress> {
  return eventually(
    `${count} messages in the page`,
    async () => {
      const progress = await call('progress');
      return progress.texts.length >= count ? progress : undefined;
    },
    30_000,
  );
}

async function untilNothingIsLeft(): Promise<void> {
  await eventually('no message without an ack', async () =>
    (await call('leftovers')) === 0 ? true : undefined,
  );
}

describe.skipIf(chromiumMissing !== undefined)(`in Chromium ${chromiumMissing ?? ''}`.trimEnd(), () => {
  beforeEach(async () => {
    sites = await createRelaySites();
    for (const site of SITES) sites.start(site, { RELAY_HEARTBEAT_MS: '1000' });
    await Promise.all(SITES.map((site) => sites.untilStatus(site, 200)));
    canonicalOrigin = `https://relay.test:${sites.ports.relay}`;
    server = await startPageServer(new Map([['/example.ts', clientExample('In a page', canonicalOrigin)]]));
    await browse((relayAddress) => relayAddress);
  }, TEST_MS);

  afterEach(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await sites?.[Symbol.asyncDispose]();
  }, TEST_MS);

  test('a page makes two mailboxes, sends to them, receives over the same sockets and acks', {
    timeout: TEST_MS,
  }, async () => {
    expect((await call('begin', canonicalOrigin, 'aws')).toSorted()).toEqual(SITES);
    expect(await call('send', 0, 'one')).toBe('aws');
    await call('send', 1, 'two');
    const { texts, undecryptable } = await untilReceived(2);
    expect(texts.toSorted()).toEqual(['0 one', '1 two']);
    expect(undecryptable).toBe(0);
    await untilNothingIsLeft();
  });

  test('the example for pages in docs/client.md runs as it is printed', { timeout: TEST_MS }, async () => {
    // The example receives for ever, so its module never finishes: only a failure is waited for.
    await page.evaluate(`import('/example.ts').catch((error) => console.log(String(error))), undefined`);
    await eventually('a word of the example', () => page.logged[0], 30_000);
    expect(page.logged).toEqual(['hello']);
  });

  test('killing the site that a page sends to and receives from loses nothing', {
    timeout: TEST_MS,
  }, async () => {
    await call('begin', canonicalOrigin, 'gcp');
    const accepted: string[] = [];
    const providers: string[] = [];
    for (let number = 0; number < 40; number += 1) {
      if (number === 15) await sites.kill('gcp');
      providers.push(await call('send', 0, `message ${number}`));
      accepted.push(`0 message ${number}`);
    }
    const { texts, undecryptable } = await untilReceived(40);
    expect(texts.toSorted()).toEqual(accepted.toSorted());
    expect(undecryptable).toBe(0);
    expect(new Set(providers.slice(0, 15))).toEqual(new Set(['gcp']));
    expect(providers.slice(15)).not.toContain('gcp');
    await untilNothingIsLeft();
  });

  test('where a proxy lets no WebSocket through, a page receives by long-poll', {
    timeout: TEST_MS,
  }, async () => {
    await chromium[Symbol.asyncDispose]();
    await using stack = new AsyncDisposableStack();
    for (const { name, relayAddress } of sites.layouts) {
      const proxy = await startMeddlingProxy({
        address: proxyAddressOf(relayAddress),
        port: sites.ports.relay,
        certificatePem: readFileSync(sites.identities.siteFile(name, 'relay.pem'), 'utf8'),
        keyPem: readFileSync(sites.identities.siteFile(name, 'relay.key'), 'utf8'),
        site: { address: relayAddress, name: `${name}.relay.test`, ca: sites.identities.authorityPem },
        policy: 403,
      });
      stack.use(proxy);
    }
    await browse(proxyAddressOf);
    await call('begin', canonicalOrigin, 'aws');
    for (let number = 0; number < 5; number += 1) await call('send', number % 2, `message ${number}`);
    const { texts, undecryptable } = await untilReceived(5);
    expect(texts).toHaveLength(5);
    expect(undecryptable).toBe(0);
    expect((await call('progress')).pollCount).toBeGreaterThan(0);
    await untilNothingIsLeft();
  });

  test('a site that falls silent with its sockets open is left for another', {
    timeout: TEST_MS,
  }, async () => {
    await call('begin', canonicalOrigin, 'gcp');
    await call('send', 0, 'before');
    await eventually('two sockets', async () =>
      (await call('progress')).readyCount === 2 ? true : undefined,
    );
    sites.signal('gcp', 'SIGSTOP');
    expect(await call('send', 0, 'after')).not.toBe('gcp');
    const { texts } = await untilReceived(2);
    expect(texts.toSorted()).toEqual(['0 after', '0 before']);
    await eventually(
      'a socket elsewhere in place of the silent one',
      async () => {
        const { readyCount, silentCount } = await call('progress');
        return silentCount === 1 && readyCount === 2 ? true : undefined;
      },
      30_000,
    );
  });
});
