/**
 * Signed answers, judged by validators that nobody here wrote: `delv` for every kind of answer, and a caching
 * `unbound` that lives through both kinds of key roll-over, step by step as docs/dnssec.md has them.
 */
import type { KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Manifest, ZoneKeySet } from '../../fleet/manifest/manifest.ts';
import { makeZoneKey } from '../../fleet/zone-keys.ts';
import { publicKeyText, signZoneKeys, zoneKeyData } from '../../healthcheck/dns/zone-keys.ts';
import { eventually } from '../support/eventually.ts';
import { testManifest } from '../support/manifests.ts';
import { startTestNameserver, type TestNameserver } from '../support/nameserver.ts';
import { outputOf, startDaemon, suiteWith } from '../support/programs.ts';

const ADDRESSES = { aws: '127.45.0.1', gcp: '127.45.0.2' } as const;
type Site = keyof typeof ADDRESSES;
const PORT = 5301;
const RESOLVER = { address: '127.45.0.9', port: 5302 };
const ZONE = 'relay.example.com';
/** Short, because the roll-overs wait for it. */
const KEYS_TTL_SECONDS = 1;

const manifest: Manifest = {
  ...testManifest(['aws', 'gcp'], { ipv6: true }),
  records: [
    { name: '', type: 'CAA', ttlSeconds: 1, data: ['0 issue "ca.example"'] },
    { name: '', type: 'HTTPS', ttlSeconds: 1, data: ['1 . alpn=http/1.1'] },
    { name: '_dmarc.mail', type: 'TXT', ttlSeconds: 1, data: ['v=DMARC1; p=reject'] },
    { name: 'x', type: 'TYPE65280', ttlSeconds: 1, data: ['\\# 3 0a0b0c'] },
  ],
};

/** The state of a fleet's keys at one step. */
interface Keys {
  readonly operators: readonly KeyObject[];
  /** Listed in the key set. */
  readonly listed: readonly { readonly site: Site; readonly key: KeyObject }[];
  /** With which each site signs. */
  readonly signing: Readonly<Record<Site, KeyObject>>;
}

let resources: AsyncDisposableStack;
let directory: string;
let running: TestNameserver[];

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  running = [];
  directory = await mkdtemp(join(tmpdir(), 'dnssec-'));
  resources.defer(async () => rm(directory, { recursive: true, force: true }));
  resources.defer(async () => stop());
});

afterEach(async () => resources.disposeAsync());

async function stop(): Promise<void> {
  for (const nameserver of running) await nameserver[Symbol.asyncDispose]();
  running = [];
}

function keySetOf({ operators, listed }: Keys): ZoneKeySet {
  const nowSeconds = Math.floor(Date.now() / 1000);
  return signZoneKeys({
    zone: ZONE,
    ttlSeconds: KEYS_TTL_SECONDS,
    siteKeys: listed.map(({ site, key }) => ({ site, publicKey: publicKeyText(key) ?? '' })),
    operatorKeys: operators,
    inceptionSeconds: nowSeconds - 3600,
    expirationSeconds: nowSeconds + 86_400,
  });
}

/** Both nameservers, from now on with these keys. */
async function serveWith(keys: Keys): Promise<void> {
  await stop();
  const signed = { ...manifest, zoneKeys: keySetOf(keys) };
  for (const site of ['aws', 'gcp'] as const) {
    const options = {
      manifest: signed,
      site,
      address: ADDRESSES[site],
      port: PORT,
      zoneKey: keys.signing[site],
    };
    running.push(await startTestNameserver(options));
  }
}

function firstKeys(): Keys {
  const signing = { aws: makeZoneKey(), gcp: makeZoneKey() };
  const listed = [
    { site: 'aws', key: signing.aws },
    { site: 'gcp', key: signing.gcp },
  ] as const;
  return { operators: [makeZoneKey()], listed, signing };
}

/** What a resolver's operator configures: the keys that the parent's DS records point to. */
async function writeAnchors(keys: readonly KeyObject[]): Promise<string> {
  const lines = keys.map((key) => {
    const data = Buffer.from(zoneKeyData({ site: null, publicKey: publicKeyText(key) ?? '' }));
    return `"${ZONE}." static-key 257 3 13 "${data.subarray(4).toString('base64')}";`;
  });
  const path = join(directory, 'anchors');
  await writeFile(path, `trust-anchors { ${lines.join(' ')} };\n`);
  return path;
}

async function delv(site: Site, anchors: string, ...question: string[]): Promise<string> {
  const server = [`@${ADDRESSES[site]}`, '-p', String(PORT), '-a', anchors, `+root=${ZONE}`];
  return outputOf('delv', [...server, ...question]);
}

const withDelv = suiteWith('delv', ['delv']);
describe.skipIf(withDelv.skipped)(withDelv.title, () => {
  test('every kind of answer of either site is validated', async () => {
    const keys = firstKeys();
    await serveWith(keys);
    const anchors = await writeAnchors(keys.operators);
    const positive = [
      ['A', ZONE],
      ['AAAA', ZONE],
      ['NS', ZONE],
      ['SOA', ZONE],
      ['DNSKEY', ZONE],
      ['NSEC', ZONE],
      ['CAA', ZONE],
      ['HTTPS', ZONE],
      ['TXT', `_dmarc.mail.${ZONE}`],
      ['TYPE65280', `x.${ZONE}`],
      ['A', `gcp.${ZONE}`],
      ['A', `NS-gcp.${ZONE}`],
    ] as const;
    for (const [type, name] of positive) {
      expect(await delv('aws', anchors, name, type), `${name} ${type}`).toContain('; fully validated');
    }
    const negative = [
      ['MX', ZONE],
      ['A', `mail.${ZONE}`],
      ['TXT', `gcp.${ZONE}`],
      ['A', `nobody.${ZONE}`],
      ['A', `a.b.gcp.${ZONE}`],
      ['A', `zzz.${ZONE}`],
      ['A', `0.${ZONE}`],
      ['A', `x.mail.${ZONE}`],
    ] as const;
    for (const [type, name] of negative) {
      expect(await delv('aws', anchors, name, type), `${name} ${type}`).toContain(
        '; negative response, fully validated',
      );
    }
    expect(await delv('gcp', anchors, ZONE, 'A')).toContain('; fully validated');
  }, 60_000);

  test('every answer that a failover may give is validated, and a foreign anchor refuses all', async () => {
    const keys = firstKeys();
    await serveWith(keys);
    const anchors = await writeAnchors(keys.operators);
    const [aws] = running;
    for (const [index, sites] of [['aws'], ['gcp'], ['aws', 'gcp']].entries()) {
      aws?.answer(sites, index + 2);
      const said = await delv('aws', anchors, ZONE, 'A');
      expect(said).toContain('; fully validated');
      expect(said.match(/^relay\.example\.com\.\s+5\s+IN\s+A\s/gm)).toHaveLength(sites.length);
    }
    expect(await delv('aws', await writeAnchors([makeZoneKey()]), ZONE, 'A')).toContain('resolution failed');
  }, 60_000);
});

/** A validating, caching resolver whose operator trusts these keys. */
async function startUnbound(anchors: readonly KeyObject[]): Promise<void> {
  const trusted = anchors.map((key) => {
    const data = Buffer.from(zoneKeyData({ site: null, publicKey: publicKeyText(key) ?? '' }));
    return `  trust-anchor: "${ZONE}. DNSKEY 257 3 13 ${data.subarray(4).toString('base64')}"`;
  });
  const path = join(directory, 'unbound.conf');
  await writeFile(
    path,
    [
      'server:',
      `  interface: ${RESOLVER.address}@${RESOLVER.port}`,
      '  access-control: 127.0.0.0/8 allow',
      '  chroot: ""',
      '  username: ""',
      '  pidfile: ""',
      `  directory: "${directory}"`,
      '  use-syslog: no',
      '  logfile: ""',
      '  val-log-level: 2',
      '  num-threads: 1',
      '  do-not-query-localhost: no',
      '  module-config: "validator iterator"',
      // Every question must reach a nameserver of ours.
      '  aggressive-nsec: no',
      // A failure must be seen at once and forgotten at once.
      '  val-bogus-ttl: 0',
      '  cache-max-negative-ttl: 1',
      '  infra-keep-probing: yes',
      ...trusted,
      'stub-zone:',
      `  name: "${ZONE}"`,
      ...Object.values(ADDRESSES).map((address) => `  stub-addr: ${address}@${PORT}`),
      'remote-control:',
      '  control-enable: no',
      '',
    ].join('\n'),
  );
  const daemon = startDaemon('unbound', ['-d', '-p', '-c', path]);
  resources.use(daemon);
  await eventually(`unbound answers: ${daemon.output()}`, async () =>
    (await resolve('version.server', 'CH', 'TXT')).includes('status:') ? true : undefined,
  );
}

async function resolve(name: string, ...type: string[]): Promise<string> {
  const options = ['+dnssec', '+tries=1', '+time=3'];
  return outputOf('dig', [`@${RESOLVER.address}`, '-p', String(RESOLVER.port), ...options, name, ...type]);
}

/** New questions again and again, for so long that every cache has seen this step. */
async function resolvesThroughout(): Promise<void> {
  const untilMs = Date.now() + 2 * KEYS_TTL_SECONDS * 1000 + 500;
  let asked = 0;
  while (Date.now() < untilMs || asked < 4) {
    asked += 1;
    const name = asked % 2 === 0 ? `none-${asked}-${Date.now()}.${ZONE}` : ZONE;
    const said = await resolve(name, asked % 4 === 1 ? 'CAA' : 'HTTPS');
    expect(said, said).toMatch(/status: (NOERROR|NXDOMAIN)/);
    expect(said, said).toMatch(/flags: qr rd ra ad;/);
    await sleep(150);
  }
}

const withUnbound = suiteWith('a validating unbound', ['unbound', 'dig']);
describe.skipIf(withUnbound.skipped)(withUnbound.title, () => {
  test("lives through the roll-over of a site's key", async () => {
    const keys = firstKeys();
    const next = makeZoneKey();
    await serveWith(keys);
    await startUnbound(keys.operators);
    await resolvesThroughout();
    const both = { ...keys, listed: [...keys.listed, { site: 'aws', key: next } as const] };
    await serveWith(both);
    await resolvesThroughout();
    const switched = { ...both, signing: { ...keys.signing, aws: next } };
    await serveWith(switched);
    await resolvesThroughout();
    await serveWith({ ...switched, listed: switched.listed.filter(({ key }) => key !== keys.signing.aws) });
    await resolvesThroughout();
  }, 60_000);

  test("lives through the roll-over of the operators' key", async () => {
    const keys = firstKeys();
    const [old] = keys.operators;
    if (old === undefined) throw new Error('no key');
    const next = makeZoneKey();
    await serveWith(keys);
    await startUnbound([old]);
    await resolvesThroughout();
    await serveWith({ ...keys, operators: [old, next] });
    await resolvesThroughout();
    // Now the parent's DS changes: a resolver that only knows the new one believes the same set.
    expect(await delv('gcp', await writeAnchors([next]), ZONE, 'A')).toContain('; fully validated');
    await serveWith({ ...keys, operators: [next] });
    expect(await delv('gcp', await writeAnchors([next]), ZONE, 'A')).toContain('; fully validated');
    expect(await delv('gcp', await writeAnchors([old]), ZONE, 'A')).toContain('resolution failed');
  }, 60_000);

  test('sees a key that signs before it is listed', async () => {
    const keys = firstKeys();
    await serveWith(keys);
    await startUnbound(keys.operators);
    await resolvesThroughout();
    const signing = { aws: makeZoneKey(), gcp: makeZoneKey() };
    await serveWith({ ...keys, signing });
    expect(await resolve(`never.${ZONE}`, 'A')).toContain('status: SERVFAIL');
  }, 60_000);
});
