/** The layout keeps the sites of a fleet, and two fleets, out of each other's way. */
import { createServer } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../system/random.ts';
import { findPorts } from './free-port.ts';
import { chooseNetwork, layOut, portWishes } from './layout.ts';

describe('the layout', () => {
  test('gives every part of every site an address of its own', () => {
    const sites = layOut('127.9.9', ['aws', 'gcp', 'hetzner']);
    const addresses = sites.flatMap((site) => [site.relayAddress, site.vantageAddress, site.redisAddress]);
    expect(new Set(addresses).size).toBe(9);
  });

  test('never chooses the network where everything else listens', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(chooseNetwork(seededRandom(seed))).toMatch(
          /^127\.([1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-4])\.\d{1,3}$/,
        );
      }),
    );
  });

  test('asks for no privileged port and none that the system gives to outgoing connections', () => {
    const wishes = portWishes(layOut('127.9.9', ['aws']), undefined);
    for (const port of wishes.flatMap(({ candidates }) => candidates)) {
      expect(port).toBeGreaterThan(1023);
      expect(port).toBeLessThan(32_768);
    }
  });
});

describe('a port that is taken at one of the addresses', () => {
  const network = chooseNetwork(seededRandom(Date.now()));
  const sites = layOut(network, ['aws', 'gcp', 'hetzner']);

  async function withTaken<Value>(port: number, work: () => Promise<Value>): Promise<Value> {
    const server = createServer().listen(port, `${network}.21`);
    await new Promise((resolve) => server.once('listening', resolve));
    try {
      return await work();
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  test('is passed over', async () => {
    const ports = await withTaken(8443, async () => await findPorts(portWishes(sites, undefined)));
    expect(ports).toMatchObject({ ok: true, value: { relay: 8444 } });
  });

  test('is a clear sentence when it was asked for', async () => {
    const ports = await withTaken(8490, async () => await findPorts(portWishes(sites, 8490)));
    expect(ports).toEqual({
      ok: false,
      fault: `Port 8490 cannot be used: ${network}.21:8490 is taken. Choose another one with --port, or leave --port out.`,
    });
  });
});
