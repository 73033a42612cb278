/** What changes after the first manifest: sites leave with all that they knew, keys are replaced, mistakes are refused. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseKeyRing } from '../../relay/core/key-ring.ts';
import { createOperators, type Operators, stackOutput } from '../../test/support/operators.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { openRelaySecrets } from '../manifest/relay-secrets.ts';
import { openManifest } from '../manifest/signed.ts';
import type { Draft } from '../operator/draft.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
let operators: Operators;
beforeEach(async () => {
  operators = createOperators();
  await operators.found('relay.example.com');
  for (const site of SITES) await operators.run('add-site', site);
  await operators.run('compose', operators.file('output.json', stackOutput(SITES)));
  expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });
});
afterEach(() => operators[Symbol.dispose]());

const read = (name: string): string => readFileSync(join(operators.path, name), 'utf8');

async function signed(file = 'manifest.jws', key = 'operators.pub'): Promise<Manifest> {
  const opened = await openManifest(read(file), read(key).trim(), 1);
  return opened.ok ? opened.value : expect.unreachable(opened.fault.details.join(' '));
}

/** Ids of the ring as the relays of a site find it, the minting one first. */
async function ringOf(site: string): Promise<readonly string[]> {
  const secrets = await openRelaySecrets(await signed(), site, read(`sites/${site}/relay/peer-key`));
  const ring = parseKeyRing(secrets.ok ? (secrets.value ?? '') : '');
  if (!ring.ok) return expect.unreachable(ring.fault.join(' '));
  const { minting, keys } = ring.value;
  return [minting.id, ...[...keys.keys()].filter((id) => id !== minting.id)];
}

function edit(change: (manifest: { -readonly [Field in keyof Manifest]: Manifest[Field] }) => void): void {
  const draft = JSON.parse(read('fleet.json')) as Draft & { manifest: Manifest };
  change(draft.manifest);
  writeFileSync(join(operators.path, 'fleet.json'), JSON.stringify(draft));
}

describe('a site that is dropped', () => {
  test('leaves with its keys; the others mint with a key that it never had', async () => {
    const before = await signed();
    const [old] = await ringOf('aws');
    // Nobody is at these addresses, so it is signed and cannot be handed out.
    const said = await operators.run('drop', 'aws', '--yes', '--at', '127.0.0.1:1');
    expect(said.code).toBe(3);
    const after = await signed();
    expect(after.version).toBe(2);
    const gone = before.sites[0];
    const text = JSON.stringify(after);
    for (const secret of [gone?.relay.pins[0], gone?.vantage.pins[0], gone?.vantage.voteKey]) {
      expect(text).not.toContain(secret);
    }
    expect(after.zoneKeys?.keys.map(({ site }) => site)).toEqual([null, 'gcp', 'hetzner']);
    expect(after.relaySecrets?.map(({ site }) => site)).toEqual(['gcp', 'hetzner']);
    const [minting, ...others] = await ringOf('gcp');
    expect(others).toEqual([old]);
    expect(minting).not.toBe(old);
  });

  test('leaves a list of what no manifest can do', async () => {
    const { text } = await operators.run('drop', 'aws', '--yes', '--at', '127.0.0.1:1');
    expect(text).toContain('providers that remain: gcp, hetzner');
    for (const what of [
      'ns-aws.relay.example.com',
      '198.51.100.1, 2001:db8:1::1',
      'revoke the certificates',
      'archipelago:manifestVersionMin 2',
      'pulumi',
    ]) {
      expect(text).toContain(what);
    }
  });

  test('is not dropped when one provider would be left, unless that is meant', async () => {
    await operators.run('drop', 'aws', '--yes', '--at', '127.0.0.1:1');
    const said = await operators.run('drop', 'gcp', '--yes', '--at', '127.0.0.1:1');
    expect(said).toMatchObject({
      code: 2,
      text: expect.stringContaining('--despite one_provider') as string,
    });
    expect((await signed()).version).toBe(2);
    expect(JSON.parse(read('fleet.json'))).toMatchObject({
      manifest: { sites: [{ name: 'gcp' }, { name: 'hetzner' }] },
    });
    await operators.run('drop', 'gcp', '--yes', '--despite', 'one_provider', '--at', '127.0.0.1:1');
    expect((await signed()).sites.map(({ name }) => name)).toEqual(['hetzner']);
  });

  test.each([
    ['--as', 'alcie', 'alcie.jwk cannot be read'],
    ['--at', 'aws', '--at: expected'],
    ['--wait', 'long', '--wait: expected'],
  ])('is not dropped with a slip in %s, and nothing is signed', async (flag, value, why) => {
    const place = flag === '--at' ? [] : ['--at', '127.0.0.1:1'];
    expect(await operators.run('drop', 'aws', '--yes', ...place, flag, value)).toMatchObject({
      code: 64,
      text: expect.stringContaining(why) as string,
    });
    expect((await signed()).version).toBe(1);
  });

  test('that was never signed leaves the draft, and nothing is signed', async () => {
    await operators.run('add-site', 'azure');
    expect(await operators.run('drop', 'azure')).toMatchObject({ code: 0 });
    expect((await signed()).version).toBe(1);
    expect(read('fleet.json')).not.toContain('azure');
  });
});

describe('before a signature', () => {
  const overrides = (...sites: readonly string[]): Manifest['overrides'] => ({
    sites: sites.map((site) => ({ site, state: 'drained', untilWallMs: Date.now() + 3_600_000 })),
    frozenUntilWallMs: null,
  });

  test.each<[string, (manifest: object) => void]>([
    ['zone_changed', (manifest) => Object.assign(manifest, { zone: 'relay.example.net' })],
    [
      'address_shared',
      (manifest) => {
        const [aws, gcp] = (manifest as Manifest).sites;
        Object.assign(gcp?.relay ?? {}, { ipv4: aws?.relay.ipv4 });
      },
    ],
    ['providers_leave', (manifest) => Object.assign(manifest, { overrides: overrides('aws', 'gcp') })],
  ])('%s is refused, and done when it is meant', async (check, change) => {
    edit(change);
    const said = await operators.run('sign', '--yes');
    expect(said).toMatchObject({ code: 2, text: expect.stringContaining(`--despite ${check}`) as string });
    expect(await operators.run('diff')).toMatchObject({ code: 2 });
    expect((await signed()).version).toBe(1);
    expect(await operators.run('sign', '--yes', '--despite', check)).toMatchObject({ code: 0 });
  });

  test('a nameserver that moves takes its glue along', async () => {
    const moved = stackOutput(SITES).replace('198.51.100.2', '198.51.100.9');
    await operators.run('compose', operators.file('moved.json', moved));
    expect(await operators.run('sign', '--yes')).toMatchObject({
      code: 2,
      text: expect.stringContaining('--despite address_moved') as string,
    });
  });

  test('a draft that drains everything has a fault', async () => {
    edit((manifest) => Object.assign(manifest, { overrides: overrides(...SITES) }));
    const said = await operators.run('sign', '--yes');
    expect(said).toMatchObject({
      code: 64,
      text: expect.stringContaining('every site is drained') as string,
    });
  });

  test('the effective answer is shown, and every other difference', async () => {
    edit((manifest) => {
      manifest.overrides = overrides('aws');
      manifest.steering = 'priority';
      manifest.health = { ...manifest.health, downAfter: 4 };
    });
    const { code, text } = await operators.run('diff');
    expect(code).toBe(0);
    expect(text).toContain('before: aws (first in 33 %), gcp (first in 33 %), hetzner (first in 33 %)');
    expect(text).toMatch(/after: {2}gcp \(.*\), hetzner \(.*\)/);
    expect(text).toContain('steering: spread → priority');
    expect(text).toContain('health.downAfter: 3 → 4');
    expect(text).toContain('override of aws: none → drained until');
  });

  test('a version may be skipped, never repeated', async () => {
    expect(await operators.run('sign', '--yes', '--version', '1')).toMatchObject({ code: 64 });
    expect(await operators.run('sign', '--yes', '--version', '40')).toMatchObject({ code: 0 });
    expect((await signed()).version).toBe(40);
  });
});

describe('keys that are replaced', () => {
  const id = (text: string): string => /Ring key (\S+) is new/.exec(text)?.[1] ?? '';

  test('a ring key opens everywhere before it mints, and the old one is retired last', async () => {
    const [old = ''] = await ringOf('aws');
    const added = id((await operators.run('keys', 'rotate', 'ring')).text);
    expect(await operators.run('keys', 'rotate', 'ring', added, '--mint')).toMatchObject({
      code: 2,
      text: expect.stringContaining('sign and push first') as string,
    });
    await operators.run('sign', '--yes');
    expect(await ringOf('aws')).toEqual([old, added]);
    expect(await operators.run('keys', 'rotate', 'ring', added, '--mint')).toMatchObject({ code: 0 });
    expect((await operators.run('diff')).text).toContain(`ring key that mints: ${old} → ${added}`);
    await operators.run('sign', '--yes');
    expect(await ringOf('gcp')).toEqual([added, old]);
    expect(await operators.run('keys', 'rotate', 'ring', added, '--retire')).toMatchObject({ code: 2 });
    await operators.run('keys', 'rotate', 'ring', old, '--retire');
    await operators.run('sign', '--yes');
    expect(await ringOf('hetzner')).toEqual([added]);
  });

  test('they are listed for people and for scripts', async () => {
    const { text } = await operators.run('keys', 'list');
    const { keys } = JSON.parse((await operators.run('keys', 'list', '--json')).text) as {
      keys: { key: string; mints?: boolean; isSigned?: boolean }[];
    };
    expect(keys).toHaveLength(text.split('\n').length);
    expect(keys).toContainEqual(expect.objectContaining({ key: 'ring', mints: true, isSigned: true }));
    expect(keys).toContainEqual(expect.objectContaining({ key: 'zone', site: 'gcp' }));
    expect(keys.map(({ key }) => key).filter((key) => key === 'on-call')).toHaveLength(2);
  });

  test('a zone key stands beside the old one before it stands alone', async () => {
    const keysOf = async (): Promise<number | undefined> =>
      (await signed()).zoneKeys?.keys.filter(({ site }) => site === 'gcp').length;
    const before = read('sites/gcp/nameserver/zone-key');
    await operators.run('keys', 'rotate', 'zone-key', 'gcp');
    expect(read('sites/gcp/nameserver/zone-key')).not.toBe(before);
    expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });
    expect(await keysOf()).toBe(2);
    await operators.run('keys', 'rotate', 'zone-key', 'gcp', '--retire');
    expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });
    expect(await keysOf()).toBe(1);
    await operators.run('keys', 'rotate', 'zone-key', 'gcp', '--at-once');
    expect(await operators.run('sign', '--yes')).toMatchObject({ code: 2 });
    expect(await operators.run('sign', '--yes', '--despite', 'zone_key_moved')).toMatchObject({ code: 0 });
  });

  test('a key-signing key signs beside the old one, and the registrar hears of both', async () => {
    await operators.run('keys', 'rotate', 'ksk');
    expect((await operators.run('diff')).text).toContain('the DS records change');
    await operators.run('sign', '--yes');
    expect((await operators.run('delegation')).text.match(/IN DS/g)).toHaveLength(2);
    expect((await signed()).zoneKeys?.signatures).toHaveLength(2);
    await operators.run('keys', 'rotate', 'ksk', '--retire');
    await operators.run('sign', '--yes');
    expect((await operators.run('delegation')).text.match(/IN DS/g)).toHaveLength(1);
  });

  test("the operators' own key is replaced while both sign", async () => {
    const old = read('operators.pub');
    await operators.run('keys', 'rotate', 'operators');
    expect(await operators.run('keys', 'rotate', 'operators', '--retire')).toMatchObject({ code: 2 });
    await operators.run('sign', '--yes');
    expect(await signed('manifest-next.jws', 'operators-next.pub')).toEqual(await signed());
    expect(await operators.run('keys', 'rotate', 'operators', '--retire')).toMatchObject({ code: 0 });
    expect(read('operators.pub')).not.toBe(old);
    expect((await signed()).version).toBe(2);
    expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });
    expect((await signed()).version).toBe(3);
  });

  test('somebody on call comes and goes', async () => {
    await operators.run('keys', 'on-call', 'carol');
    await operators.run('keys', 'on-call', 'bob', '--remove');
    await operators.run('sign', '--yes');
    expect((await signed()).onCallKeys?.map(({ name }) => name)).toEqual(['alice', 'carol']);
    expect(() => read('on-call/bob.jwk')).toThrow('ENOENT');
  });
});
