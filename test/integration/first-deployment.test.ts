/**
 * The order of a first deployment and what comes after it, on one machine: nodes wait, alive and not ready; operators
 * compose, sign and push; then a site is added, drained, and another one dropped with its processes already dead, all
 * under traffic, and nothing that was accepted is lost.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Fleet } from '../../client/fleet.ts';
import { createMailbox } from '../../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../../client/node-transport.ts';
import { createSubscription, type Subscription } from '../../client/push-url.ts';
import { createReceiver } from '../../client/receiver.ts';
import { createSender } from '../../client/sender.ts';
import { type Authority, issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import type { HealthPolicy } from '../../fleet/manifest/manifest.ts';
import { TYPE } from '../../healthcheck/dns/message.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { createDeployment, type Deployment } from '../support/deployment.ts';
import { ask } from '../support/dns-client.ts';

const FIRST = ['aws', 'gcp', 'hetzner'];
const ADDED = 'ovh';
const EVERY_MS = 50;
/** Quicker to change its mind than the default, and as patient with a machine that is busy. */
const POLICY: HealthPolicy = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 950,
  downAfter: 4,
  okAfter: 2,
  upAfter: 3,
  voteFreshMs: 6000,
  withdrawalWindowMs: 1000,
  warmUpMs: 1000,
  canaryIntervalMs: 0,
  ttlMinSeconds: 1,
  ttlMaxSeconds: 5,
};
const context = { wallMs: Date.now(), random: systemRandom };

test('from nothing to three providers, one more, and one less', { timeout: 300_000 }, async () => {
  const authority = await makeAuthority(context);
  await using fleet = await createDeployment({ sites: [...FIRST, ADDED], policy: POLICY });
  const run = async (...words: readonly string[]): Promise<string> => {
    const { code, text } = await fleet.operators.run(...words);
    expect({ words, code, text }).toMatchObject({ code: 0 });
    return text;
  };
  const signAndPush = async (): Promise<void> => {
    await run('sign', '--yes');
    const said = await run('push', '--wait', '60', '--as', 'alice');
    expect(said).toContain('All nameservers and relays that answer hold');
  };

  for (const site of FIRST) await bringUp(fleet, site, authority);
  await untilWaiting(fleet, FIRST);

  await fleet.compose(FIRST);
  await signAndPush();
  await untilReady(fleet, FIRST);
  await untilAnswered(fleet, FIRST, FIRST);
  expect(await run('delegation')).toContain(
    `ns-gcp.${fleet.zone}. IN A ${fleet.layout('gcp').vantageAddress}`,
  );

  const transport = transportOf(fleet, authority);
  const traffic = await startTraffic(fleet, transport);

  await bringUp(fleet, ADDED, authority);
  await untilWaiting(fleet, [ADDED]);
  await fleet.compose([...FIRST, ADDED]);
  await signAndPush();
  await untilReady(fleet, [ADDED]);
  await untilAnswered(fleet, [...FIRST, ADDED], [...FIRST, ADDED]);

  await run('drain', ADDED, '--for', '10m', '--yes', '--as', 'alice');
  await untilAnswered(fleet, [...FIRST, ADDED], FIRST);
  await run('undrain', ADDED, '--yes', '--as', 'bob');

  await fleet.kill('aws-relay');
  await fleet.kill('aws-vantage');
  const dropped = await run('drop', 'aws', '--yes', '--wait', '60', '--as', 'alice');
  expect(dropped).toContain('What remains to be done by hand');
  const left = ['gcp', 'hetzner', ADDED];
  await untilAnswered(fleet, left, left);
  // A push URL of the new ring key, from one site, is good at every other.
  const late = await subscribe(fleet, transport, 'gcp');
  expect(capabilityKey(late)).not.toBe(capabilityKey(traffic.recipient));
  for (const site of left) {
    const sender = createSender({
      transport,
      clock: systemClock,
      random: systemRandom,
      fleet: fleetOf(fleet, [site]),
    });
    await sender.send(late, Buffer.from(site), { ttlSeconds: 600 });
  }

  const { accepted, refused, received } = await traffic.finish();
  expect(refused).toEqual([]);
  expect(accepted.length).toBeGreaterThan(20);
  expect(accepted.filter((text) => !received.has(text))).toEqual([]);
  transport.close();
});

/** `fleet add-site`, then what `pulumi up` would start. */
async function bringUp(fleet: Deployment, site: string, authority: Authority): Promise<void> {
  await fleet.addSite(site);
  fleet.startVantage(site, { VANTAGE_CA: fleet.operators.file('ca.pem', authority.certificatePem) });
  const names = [fleet.zone, `${site}.${fleet.zone}`];
  fleet.startRelay(site, await issueServerCertificate(context, authority, names));
}

async function untilWaiting(fleet: Deployment, sites: readonly string[]): Promise<void> {
  await fleet.until(`${sites.join()} live and wait`, async () => {
    const replies = await Promise.all(
      sites.flatMap((site) =>
        (['relay', 'vantage'] as const).map(async (part) => [
          (await fleet.ask(site, part, '/livez'))?.status,
          (await fleet.ask(site, part, '/readyz'))?.status,
        ]),
      ),
    );
    return replies.every(([livez, readyz]) => livez === 200 && readyz === 503);
  });
  for (const site of sites)
    expect((await fleet.ask(site, 'relay', '/readyz'))?.body).toContain('no_manifest');
}

async function untilReady(fleet: Deployment, sites: readonly string[]): Promise<void> {
  await fleet.until(`${sites.join()} are ready`, async () => {
    const replies = await Promise.all(
      sites.flatMap((site) => [fleet.ask(site, 'relay', '/readyz'), fleet.ask(site, 'vantage', '/readyz')]),
    );
    return replies.every((reply) => reply?.status === 200);
  });
}

/** The nameservers of `at` give out these sites and no other. */
async function untilAnswered(
  fleet: Deployment,
  at: readonly string[],
  sites: readonly string[],
): Promise<void> {
  const wanted = sites.map((site) => fleet.layout(site).relayAddress).toSorted();
  await fleet.until(`${at.join()} answer with ${sites.join()}`, async () => {
    const answers = await Promise.all(
      at.map(async (site) => {
        const server = { address: fleet.layout(site).vantageAddress, port: fleet.ports.dns };
        const response = await ask(server, fleet.zone, TYPE.A);
        return (response?.answers ?? []).flatMap((record) => (record.type === 'A' ? [record.address] : []));
      }),
    );
    return answers.every((addresses) => addresses.toSorted().join() === wanted.join());
  });
}

function transportOf(fleet: Deployment, authority: Authority): NodeTransport {
  return createNodeTransport({
    clock: systemClock,
    ca: authority.certificatePem,
    connectTimeoutMs: 2000,
    keepAlive: true,
    lookup: async (name) => {
      const site = [...FIRST, ADDED].find((each) => name === `${each}.${fleet.zone}`);
      return await Promise.resolve(site === undefined ? [] : [fleet.layout(site).relayAddress]);
    },
  });
}

function fleetOf({ zone, ports }: Deployment, sites: readonly string[]): Fleet {
  return {
    canonicalOrigin: `https://${zone}:${ports.relay}`,
    sites: sites.map((site) => ({ origin: `https://${site}.${zone}:${ports.relay}`, provider: site })),
  };
}

async function subscribe(fleet: Deployment, transport: NodeTransport, site: string): Promise<Subscription> {
  return await createSubscription(await createMailbox(systemRandom), optionsAt(fleet, transport, site));
}

function optionsAt(
  { zone, ports, operators }: Deployment,
  transport: NodeTransport,
  site: string,
): Parameters<typeof createSubscription>[1] {
  return {
    transport,
    clock: systemClock,
    siteOrigin: `https://${site}.${zone}:${ports.relay}`,
    operatorToken: readFileSync(join(operators.path, 'sites', site, 'operator-token'), 'utf8'),
    timeoutMs: 5000,
  };
}

/** The id of the ring key that sealed a push URL: its first four bytes. */
function capabilityKey({ endpoint }: Subscription): string {
  return Buffer.from(endpoint.split('/p/')[1] ?? '', 'base64url')
    .subarray(0, 4)
    .toString('hex');
}

interface Traffic {
  readonly recipient: Subscription;
  /** Stops sending, and resolves once all that was accepted is here or ten seconds have passed. */
  finish(): Promise<{
    accepted: readonly string[];
    refused: readonly string[];
    received: ReadonlySet<string>;
  }>;
}

/** One sender and one recipient with our client, who know the first three sites. */
async function startTraffic(fleet: Deployment, transport: NodeTransport): Promise<Traffic> {
  const mailbox = await createMailbox(systemRandom);
  const recipient = await createSubscription(mailbox, optionsAt(fleet, transport, 'aws'));
  const common = { transport, clock: systemClock, random: systemRandom, fleet: fleetOf(fleet, FIRST) };
  const sender = createSender(common);
  const receiver = createReceiver({ ...common, mailboxes: [mailbox] });
  const [sending, receiving] = [new AbortController(), new AbortController()];
  const accepted: string[] = [];
  const refused: string[] = [];
  const received = new Set<string>();
  const send = async (): Promise<void> => {
    for (let count = 1; !sending.signal.aborted; count += 1) {
      const text = `message ${count}`;
      try {
        await sender.send(recipient, Buffer.from(text), { ttlSeconds: 600 });
        accepted.push(text);
      } catch (error) {
        refused.push(`${text}: ${String(error)}`);
      }
      await systemClock.sleep(EVERY_MS);
    }
  };
  const receive = async (): Promise<void> => {
    for await (const message of receiver.messages(receiving.signal)) {
      received.add(Buffer.from(message.content).toString('utf8'));
    }
  };
  const both = [send(), receive()];
  return {
    recipient,
    finish: async () => {
      sending.abort();
      await both[0];
      await fleet
        .until(
          'all that was accepted is here',
          async () => await Promise.resolve(accepted.every((text) => received.has(text))),
        )
        .catch(() => undefined);
      receiving.abort();
      await both[1]?.catch(() => undefined);
      return { accepted, refused, received };
    },
  };
}
