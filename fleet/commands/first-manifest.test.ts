/** From nothing to a signed manifest, as operators go; what comes out is read by what nodes read it with. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { zoneFaults } from '../../healthcheck/core/zone.ts';
import { Faults } from '../../infra/faults.ts';
import { parseSecrets } from '../../infra/secret-files.ts';
import { parseKeyRing } from '../../relay/core/key-ring.ts';
import { createOperators, type Operators, PASSPHRASE, stackOutput } from '../../test/support/operators.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { openRelaySecrets } from '../manifest/relay-secrets.ts';
import { openManifest } from '../manifest/signed.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
let operators: Operators;
beforeEach(() => {
  operators = createOperators();
});
afterEach(() => operators[Symbol.dispose]());

const read = (name: string): string => readFileSync(join(operators.path, name), 'utf8');

async function signed(): Promise<Manifest> {
  const opened = await openManifest(read('manifest.jws'), read('operators.pub').trim(), 1);
  return opened.ok ? opened.value : expect.unreachable(opened.fault.details.join(' '));
}

async function founded(): Promise<void> {
  await operators.found('relay.example.com');
  for (const site of SITES) expect(await operators.run('add-site', site)).toMatchObject({ code: 0 });
  const output = operators.file('output.json', stackOutput(SITES));
  expect(await operators.run('compose', output)).toMatchObject({ code: 0 });
}

describe('the first manifest', () => {
  test('is what nodes take: whole, signed, its zone signed, its secrets sealed for every site', async () => {
    await founded();
    expect(await operators.run('sign', '--yes')).toMatchObject({
      code: 0,
      text: expect.stringMatching(
        /nothing → version 1[\s\S]*providers that remain: aws, gcp, hetzner/,
      ) as string,
    });
    const manifest = await signed();
    expect(manifest.sites.map(({ name, relay, vantage }) => [name, ...relay.ipv4, vantage.ipv6])).toEqual([
      ['aws', '192.0.2.1', '2001:db8:1::1'],
      ['gcp', '192.0.2.2', '2001:db8:1::2'],
      ['hetzner', '192.0.2.3', '2001:db8:1::3'],
    ]);
    expect(zoneFaults(manifest)).toEqual([]);
    for (const site of SITES) {
      const secrets = await openRelaySecrets(manifest, site, read(`sites/${site}/relay/peer-key`));
      expect(secrets.ok && parseKeyRing(secrets.value ?? '').ok).toBe(true);
    }
    const other = await openRelaySecrets(manifest, 'aws', read('sites/gcp/relay/peer-key'));
    expect(other).toEqual({ ok: false, fault: 'not_sealed_for_key' });
  });

  test('leaves out a site without addresses, and takes it in when they are there', async () => {
    await operators.found('relay.example.com');
    for (const site of SITES) await operators.run('add-site', site);
    await operators.run('compose', operators.file('two.json', stackOutput(['aws', 'gcp'])));
    const first = await operators.run('sign', '--yes');
    expect(first.text).toContain('Left out: hetzner');
    expect((await signed()).sites.map(({ name }) => name)).toEqual(['aws', 'gcp']);
    await operators.run('compose', operators.file('three.json', stackOutput(SITES)));
    const second = await operators.run('sign', '--yes');
    expect(second).toMatchObject({
      code: 0,
      text: expect.stringContaining('site hetzner (hetzner) is new') as string,
    });
    expect((await signed()).version).toBe(2);
  });

  test('gives the registrar names, glue and the DS of the key that signs the set', async () => {
    await founded();
    expect(await operators.run('delegation')).toMatchObject({ code: 64 });
    await operators.run('sign', '--yes');
    const { text } = await operators.run('delegation');
    expect(text).toContain('relay.example.com. IN NS ns-aws.relay.example.com.');
    expect(text).toContain('ns-gcp.relay.example.com. IN AAAA 2001:db8:1::2');
    const tag = (await signed()).zoneKeys?.signatures[0]?.keyTag;
    expect(text).toMatch(new RegExp(`^relay\\.example\\.com\\. IN DS ${tag} 13 2 [0-9A-F]{64}$`, 'm'));
  });
});

describe('the files of a site', () => {
  test.each(['aws', 'gcp', 'hetzner'] as const)(
    'are what the Pulumi program asks for at %s',
    async (provider) => {
      await operators.found('relay.example.com');
      await operators.run('add-site', provider);
      const given = Object.fromEntries(
        ['relay', 'redis', 'nameserver'].map((role) => [
          role,
          Object.fromEntries(
            readdirSync(join(operators.path, 'sites', provider, role)).map((file) => [
              file,
              read(`sites/${provider}/${role}/${file}`),
            ]),
          ),
        ]),
      );
      const faults = new Faults();
      parseSecrets({ [provider]: given }, [{ name: provider, provider }], true, faults);
      expect(faults.found).toEqual([]);
      const script = read(`sites/${provider}/set-secrets.sh`);
      for (const [role, files] of Object.entries(given)) {
        for (const file of Object.keys(files)) expect(script).toContain(`'${provider}.${role}.${file}'`);
      }
    },
  );

  test('are needed no more once the stack has them', async () => {
    await founded();
    rmSync(join(operators.path, 'sites'), { recursive: true });
    expect(await operators.run('sign', '--yes')).toMatchObject({ code: 0 });
  });
});

describe('nothing is signed', () => {
  test('without a word of the operator, where nobody can be asked', async () => {
    await founded();
    expect(await operators.run('sign')).toMatchObject({
      code: 2,
      text: expect.stringContaining('--yes') as string,
    });
    expect(existsSync(join(operators.path, 'manifest.jws'))).toBe(false);
  });

  test('when the operator says no', async () => {
    const asked: string[] = [];
    const terminal = {
      ask: async (question: string) => {
        asked.push(question);
        return await Promise.resolve('n');
      },
      askSecret: async () => await Promise.resolve(PASSPHRASE),
    };
    operators[Symbol.dispose]();
    operators = createOperators({ terminal, environment: {} });
    await founded();
    expect(await operators.run('sign')).toMatchObject({ code: 2 });
    expect(asked).toEqual(['Sign version 1? [y/N] ']);
    expect(existsSync(join(operators.path, 'manifest.jws'))).toBe(false);
  });

  test('with another passphrase', async () => {
    await founded();
    const wrong = operators.file('passphrase', 'not the passphrase\n');
    const said = await operators.run('sign', '--yes', '--passphrase-file', wrong);
    expect(said).toEqual({
      code: 2,
      text: 'The passphrase does not open the vault; or else the file is damaged.',
    });
  });

  test('from a draft with faults, and each is told with its path', async () => {
    await founded();
    const draft = JSON.parse(read('fleet.json')) as { manifest: { health: object; steering: string } };
    draft.manifest.steering = 'random';
    draft.manifest.health = { ...draft.manifest.health, probeTimeoutMs: 5000 };
    writeFileSync(join(operators.path, 'fleet.json'), JSON.stringify(draft));
    const said = await operators.run('sign', '--yes');
    expect(said.code).toBe(64);
    expect(said.text).toMatch(
      /fleet\.json: manifest\.health\.probeTimeoutMs[\s\S]*steering: expected spread or priority/,
    );
  });
});

describe('wrong words', () => {
  test.each([
    [['init'], 'init needs --zone'],
    [['init', '--zone', 'x y'], '--zone x y cannot be a zone'],
    [['init', '--zone', 'relay.example.com', '--on-call', 'Alice'], '--on-call: expected names'],
    [['add-site'], 'needs the name of the new site'],
    [['add-site', 'AWS'], "A site's name has 1 to 16"],
    [['add-site', 'aws', '--weight', '0'], '--weight: expected'],
    [['add-site', 'ns-aws'], 'begins with "ns-"'],
    [['compose'], 'needs one or more files'],
    [['compose', '/nowhere'], '/nowhere: cannot be read'],
    [['sign', '--despite', 'zone_change'], 'did you mean zone_changed?'],
    [['push'], 'has no signed manifest'],
    [['drain', 'aws'], '--for: expected how long'],
    [['drain', 'aws', '--for', '25h'], 'at most 24h'],
    [['drop', 'azure'], 'There is no site "azure"'],
    [['keys', 'rotate', 'rings'], 'keys does not know "rotate rings"'],
  ])('%j get one sentence', async (words, sentence) => {
    if (words[0] !== 'init') await operators.found('relay.example.com');
    const said = await operators.run(...words);
    expect(said.text).toContain(sentence);
    expect(said.code).toBe(64);
  });

  test('a second init does not touch what is there', async () => {
    await operators.found('relay.example.com');
    const before = read('operators.jwe');
    expect(await operators.run('init', '--zone', 'relay.example.com')).toMatchObject({ code: 2 });
    expect(read('operators.jwe')).toBe(before);
  });

  test('what Pulumi has not finished is no address', async () => {
    await operators.found('relay.example.com');
    await operators.run('add-site', 'aws');
    const compose = async (name: string, content: string): Promise<string> =>
      (await operators.run('compose', operators.file(name, content))).text;
    expect(await compose('a', '{}')).toContain('has no sites; has `pulumi up`');
    expect(await compose('b', 'error: no stack')).toContain('no JSON');
    expect(await compose('c', stackOutput(['gcp']))).toContain('`fleet add-site gcp` first');
    const broken = stackOutput(['aws']).replace('192.0.2.1', '192.0.2.256');
    expect(await compose('d', broken)).toContain('sites.aws.relay.ipv4: expected');
  });
});

test('init makes a directory that its own passphrase opens, and no other', async () => {
  expect(await operators.run('init', '--zone', 'relay.example.com', '--on-call', 'alice')).toMatchObject({
    code: 0,
  });
  expect(readdirSync(operators.path).toSorted()).toEqual([
    'fleet.json',
    'on-call',
    'operators.jwe',
    'operators.pub',
  ]);
  expect(await operators.run('keys', 'list')).toMatchObject({
    code: 0,
    text: expect.stringContaining(`operators: ${read('operators.pub').trim()}`) as string,
  });
  const vault = read('operators.jwe');
  expect(vault).not.toContain(PASSPHRASE);
  writeFileSync(join(operators.path, 'operators.jwe'), vault.slice(0, -20));
  expect(await operators.run('keys', 'list')).toMatchObject({ code: 2 });
});
