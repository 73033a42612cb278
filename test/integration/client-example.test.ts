/**
 * The example of docs/client.md for Node, run as it is printed by a Node of its own, at the real relays of three sites.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { clientExample } from '../support/client-example.ts';
import { createRelaySites } from '../support/relay-sites.ts';

const ROOT: string = join(import.meta.dirname, '../..');
const TEST_MS = 60_000;

/** A module that makes the resolver of its process know the names of a fleet, and no others. */
function resolverOf(addresses: Readonly<Record<string, string>>): string {
  const text = `import dns from 'node:dns';
    const addresses = ${JSON.stringify(addresses)};
    dns.lookup = (name, options, callback) => {
      const address = addresses[name];
      if (address === undefined) callback(Object.assign(new Error(name), { code: 'ENOTFOUND' }));
      else if (options.all) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    };`;
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

test('the example for Node runs as it is printed', { timeout: TEST_MS }, async () => {
  await using sites = await createRelaySites();
  for (const { name } of sites.layouts) sites.start(name);
  await Promise.all(sites.layouts.map(({ name }) => sites.untilStatus(name, 200)));
  const own = sites.layouts.map(({ name, relayAddress }) => [`${name}.relay.test`, relayAddress]);
  const addresses = { ...Object.fromEntries(own), 'relay.test': sites.layouts[0]?.relayAddress };
  const example = clientExample('In Node', `https://relay.test:${sites.ports.relay}`);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', resolverOf(addresses), '--input-type=module-typescript', '--eval', example],
    {
      cwd: ROOT,
      timeout: TEST_MS,
      env: { PATH: process.env['PATH'], NODE_EXTRA_CA_CERTS: sites.identities.files.authority },
    },
  );
  expect(stdout.trimEnd().split('\n')).toEqual([
    'accepted for 86400 s',
    'received hello',
    'refused: vapid_missing',
    'taken back, revoked',
  ]);
});
