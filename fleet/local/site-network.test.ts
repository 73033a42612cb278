/** The small Internet of a local fleet: cut where it is told to, healed by the kernel, and gone without a trace. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { layOut, type SiteLayout } from './layout.ts';
import { removeLeftovers, whyNoNamespaces } from './namespaces.ts';
import { bothWays, countDropped, createSiteNetwork, type SiteNetwork } from './site-network.ts';

const NETWORK = '198.19.251';
const CUT_SECONDS = 2;
const [aws, gcp, hetzner] = layOut(NETWORK, ['aws', 'gcp', 'hetzner']);
const layouts = [aws, gcp, hetzner].filter((layout): layout is SiteLayout => layout !== undefined);
const missing = process.env['CI_NO_SKIP'] === '1' ? '' : whyNoNamespaces();

test('paths lead both ways between each two addresses', () => {
  expect(bothWays(['a'], ['b', 'c'])).toEqual([
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'c'],
    ['c', 'a'],
  ]);
});

test('dropped packets are those of every counter', () => {
  const listing = '{"counter": {"packets": 3, "bytes": 180}}, {"counter": {"packets":4, "bytes": 240}}';
  expect(countDropped(listing)).toBe(7);
});

describe.skipIf(missing !== '')(
  `sites in namespaces of their own (skipped where there are none: ${missing})`,
  () => {
    let network: SiteNetwork;
    beforeAll(() => {
      network = createSiteNetwork(NETWORK, layouts, { adoptNamespace: () => undefined });
    });
    afterAll(() => network.dispose());

    /** Nothing listens there, so whoever is reached refuses at once, and a black hole takes the whole time. */
    function reaches(from: string, address: string): boolean {
      const connect = ['timeout', '0.5', 'bash', '-c', `</dev/tcp/${address}/1`];
      const [command = '', ...parameters] = network.inside(from, connect);
      return spawnSync(command, parameters).status === 1;
    }

    test('reach each other and this machine', () => {
      expect(reaches('aws', gcp?.relayAddress ?? '')).toBe(true);
      expect(reaches('aws', `${NETWORK}.1`)).toBe(true);
    });

    test('are cut apart on the paths that are named and on no other, until the kernel heals it', async () => {
      const before = network.dropped();
      network.cut(bothWays([aws?.relayAddress ?? ''], [gcp?.relayAddress ?? '']), CUT_SECONDS);
      expect(reaches('aws', gcp?.relayAddress ?? '')).toBe(false);
      expect(reaches('aws', hetzner?.relayAddress ?? '')).toBe(true);
      expect(network.dropped()).toBeGreaterThan(before);
      await eventually('the end of the cut', () => reaches('aws', gcp?.relayAddress ?? '') || undefined);
    });

    test('are reached again as soon as it is healed', () => {
      network.cut(bothWays([aws?.relayAddress ?? ''], [gcp?.relayAddress ?? '']), 600);
      network.heal();
      expect(reaches('aws', gcp?.relayAddress ?? '')).toBe(true);
    });

    test('of a process that was killed are removed by the next one, those of a living one are not', async () => {
      const program = `
      import { createSiteNetwork } from ${JSON.stringify(join(import.meta.dirname, 'site-network.ts'))};
      createSiteNetwork('198.19.252', [], { adoptNamespace: () => undefined });
      setInterval(() => undefined, 1000);`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
      const mine = `arch-${child.pid}-`;
      const own = (): readonly string[] => readdirSync('/run/netns').filter((name) => name.startsWith(mine));
      await eventually('its namespace', () => own().length > 0 || undefined);
      removeLeftovers();
      expect(own()).toHaveLength(1);
      child.kill('SIGKILL');
      await once(child, 'exit');
      removeLeftovers();
      expect(own()).toEqual([]);
    });
  },
);
