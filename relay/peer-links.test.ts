/**
 * Links that come and go with the manifest: what did not change is left alone.
 */
import { expect, test } from 'vitest';
import type { SiteEntry } from '../fleet/manifest/manifest.ts';
import type { PinnedDestination } from '../system/pinned-tls.ts';
import { testManifest } from '../test/support/manifests.ts';
import type { RunningPeerLink } from './adapters/peer-link.ts';
import { createPeerLinks } from './peer-links.ts';

const all = testManifest(['aws', 'gcp', 'hetzner', 'ovh']).sites;
const named = (...names: readonly string[]): SiteEntry[] =>
  all.filter(({ name }) => names.includes(name)).map((site) => ({ ...site }));

function setUp(...names: readonly string[]) {
  const sites = named(...names);
  const told: string[] = [];
  const destinations = new Map<string, () => readonly PinnedDestination[]>();
  const links = createPeerLinks({
    own: 'aws',
    sites,
    destinationsOf: ({ relay }) =>
      relay.ipv4.map((host) => ({ host, port: 443, serverName: 'peer', pins: relay.pins })),
    connect: ({ name, provider }, now): RunningPeerLink => {
      told.push(`open ${name}`);
      destinations.set(name, now);
      return {
        site: name,
        provider,
        isUp: () => true,
        call: async () => ({ type: 'done' }),
        recheck: () => void told.push(`recheck ${name}`),
        close: async () => void told.push(`close ${name}`),
      };
    },
  });
  const become = (...next: readonly SiteEntry[]): readonly string[] => {
    sites.splice(0, sites.length, ...next);
    told.length = 0;
    return links.update();
  };
  return { links, told, become, destinations };
}

test('a site that comes gets a link, one that leaves loses it, and the others keep theirs', async () => {
  const { links, told, become } = setUp('aws', 'gcp', 'hetzner');
  const [gcp] = links.list;
  expect(told).toStrictEqual(['open gcp', 'open hetzner']);
  expect(become(...named('aws', 'gcp', 'ovh'))).toStrictEqual(['hetzner']);
  expect(told).toStrictEqual(['close hetzner', 'recheck gcp', 'open ovh']);
  expect(links.list.map(({ site }) => site)).toStrictEqual(['gcp', 'ovh']);
  expect(links.list[0]).toBe(gcp);
  await links.close();
});

test('a link knows the addresses and keys that are listed now', async () => {
  const { links, become, destinations } = setUp('aws', 'gcp');
  const moved = named('aws', 'gcp').map((site) => ({
    ...site,
    relay: { ...site.relay, ipv4: ['192.0.2.99'], pins: ['another'] },
  }));
  become(...moved);
  expect(destinations.get('gcp')?.()).toMatchObject([{ host: '192.0.2.99', pins: ['another'] }]);
  become(...named('aws'));
  expect(destinations.get('gcp')?.()).toStrictEqual([]);
  await links.close();
});

test('a site that moved to another provider is another site', async () => {
  const { links, told, become } = setUp('aws', 'gcp');
  const moved = named('aws', 'gcp').map((site) =>
    site.name === 'gcp' ? { ...site, provider: 'ovh' } : site,
  );
  // What is owed to it is still owed: it has the name that the outbox knows.
  expect(become(...moved)).toStrictEqual([]);
  expect(told).toStrictEqual(['close gcp', 'open gcp']);
  expect(links.list.map(({ provider }) => provider)).toStrictEqual(['ovh']);
  await links.close();
});

test('work towards each site begins when it comes and ends when it leaves', async () => {
  const { links, become } = setUp('aws', 'gcp', 'hetzner');
  const working: string[] = [];
  const stopping = new AbortController();
  const running = links.each(async ({ site }, stopped) => {
    working.push(site);
    const { promise, resolve } = Promise.withResolvers<void>();
    stopped.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    working.splice(working.indexOf(site), 1);
  }, stopping.signal);
  expect(working).toStrictEqual(['gcp', 'hetzner']);
  become(...named('aws', 'gcp', 'ovh'));
  await expect.poll(() => working).toStrictEqual(['gcp', 'ovh']);
  stopping.abort(new Error('stopping'));
  await running;
  expect(working).toStrictEqual([]);
  await links.close();
});
