/**
 * A capability key is rotated while the relays run, site by site: a push URL of a key that has not arrived is
 * answered 503 and never 404, and works as soon as the key is there.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport } from '../../client/node-transport.ts';
import { createSubscription } from '../../client/push-url.ts';
import { siteOrigin } from '../../fleet/manifest/manifest.ts';
import { signManifest } from '../../fleet/manifest/signed.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { ciphertext } from '../support/ciphertext.ts';
import { eventually } from '../support/eventually.ts';
import { createRelaySites } from '../support/relay-sites.ts';
import { makeSigningKey } from '../support/waiting-fleet.ts';

interface Secrets {
  readonly capabilityKeys: readonly { readonly id: string; readonly key: string; readonly mint?: boolean }[];
  readonly pepper: string;
}

const NAMES = ['aws', 'gcp', 'hetzner'];

test('a key that is added, minted with and reloaded by SIGHUP', { timeout: 60_000 }, async () => {
  await using sites = await createRelaySites();
  const { identities, layouts } = sites;
  const before = JSON.parse(readFileSync(identities.files.secrets, 'utf8')) as Secrets;
  const added = {
    id: Buffer.from(systemRandom.bytes(4)).toString('base64url'),
    key: Buffer.from(systemRandom.bytes(32)).toString('base64url'),
    mint: true,
  };
  const old = before.capabilityKeys.map(({ id, key }) => ({ id, key }));
  const after: Secrets = { ...before, capabilityKeys: [...old, added] };
  const fileOf = (site: string): string => join(sites.directory, `${site}-secrets.json`);
  // Secrets in the manifest would hold instead of the files.
  const operators = makeSigningKey();
  const { relaySecrets: _, ...manifest } = identities.manifest;
  const signed = await signManifest(manifest, operators);
  for (const name of NAMES) {
    const path = join(sites.directory, `${name}-manifest.jws`);
    writeFileSync(path, signed);
    writeFileSync(fileOf(name), JSON.stringify(before));
    sites.start(name, {
      RELAY_SECRETS: fileOf(name),
      RELAY_MANIFEST: path,
      RELAY_MANIFEST_KEY: operators.x,
    });
  }
  await Promise.all(NAMES.map((name) => sites.untilStatus(name, 200)));
  const transport = createNodeTransport({
    clock: systemClock,
    ca: identities.authorityPem,
    lookup: async (hostname) => {
      const layout = layouts.find(({ name }) => hostname.startsWith(`${name}.`));
      return layout === undefined ? [] : [layout.relayAddress];
    },
    connectTimeoutMs: 2000,
    keepAlive: false,
  });
  const originOf = (site: string): string => siteOrigin(identities.manifest, site);
  const mint = async (): Promise<string> => {
    const options = { transport, clock: systemClock, siteOrigin: originOf('aws'), timeoutMs: 5000 };
    const { endpoint } = await createSubscription(await createMailbox(systemRandom), options);
    return new URL(endpoint).pathname;
  };
  const send = async (site: string, path: string): Promise<number> => {
    const headers = { ttl: '60', 'content-encoding': 'aes128gcm' };
    const body = ciphertext('a message');
    const request = { origin: originOf(site), method: 'POST', path, headers, body } as const;
    return (await transport.request(request, { timeoutMs: 5000 })).status;
  };
  const reload = async (site: string, secrets: string, said: string): Promise<void> => {
    writeFileSync(fileOf(site), secrets);
    sites.signal(site, 'SIGHUP');
    await eventually(said, () => (sites.output(site).includes(`"${said}"`) ? true : undefined));
  };

  const early = await mint();
  await reload('aws', JSON.stringify(after), 'secrets reloaded');
  const late = await mint();
  expect([await send('aws', late), await send('gcp', late), await send('gcp', early)]).toEqual([
    201, 503, 201,
  ]);
  await reload('gcp', '{', 'secrets not reloaded');
  expect([await send('gcp', late), await send('gcp', early)]).toEqual([503, 201]);
  await reload('gcp', JSON.stringify(after), 'secrets reloaded');
  expect([await send('gcp', late), await send('aws', early)]).toEqual([201, 201]);
  transport.close();
});
