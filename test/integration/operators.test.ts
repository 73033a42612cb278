/**
 * Operators' commands against real vantages: they wait, take what was signed, spread it, and refuse the rest by name;
 * somebody on call drains and freezes; a site whose processes are dead is dropped.
 */
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { commandNamed } from '../../fleet/commands/commands.ts';
import type { WholeStatus } from '../../healthcheck/status.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { createDeployment, type Deployment } from '../support/deployment.ts';
import { FAST_POLICY } from '../support/vantage-fleet.ts';

const SITES = ['aws', 'gcp', 'hetzner'];
let fleet: Deployment;

vi.setConfig({ testTimeout: 60_000 });

beforeEach(async () => {
  fleet = await createDeployment({ sites: SITES, policy: FAST_POLICY });
  for (const site of SITES) await fleet.addSite(site);
  await fleet.compose(SITES);
  for (const site of SITES) fleet.startVantage(site);
  await fleet.until('three vantages that live and wait', async () => {
    const replies = await Promise.all(
      SITES.map(async (site) => [
        (await fleet.ask(site, 'vantage', '/livez'))?.status,
        (await fleet.ask(site, 'vantage', '/readyz'))?.status,
      ]),
    );
    return replies.flat().join() === '200,503,200,503,200,503';
  });
  expect(await run('sign', '--yes')).toMatchObject({ code: 0 });
}, 60_000);

afterEach(async () => {
  await fleet?.[Symbol.asyncDispose]();
});

const run = async (...words: readonly string[]): ReturnType<Deployment['operators']['run']> =>
  await fleet.operators.run(...words);
const as = ['--as', 'alice'];
/** One may have it from the other before it is brought. */
const TAKEN_BY_TWO = /gcp: (adopted|already)\nhetzner: (adopted|already)/;

async function statusOf(site: string): Promise<WholeStatus | undefined> {
  const reply = await fleet.ask(site, 'vantage', '/status');
  return reply === undefined ? undefined : (JSON.parse(reply.body) as WholeStatus);
}

function votePort(site: string): string {
  return `${fleet.layout(site).vantageAddress}:${fleet.ports.votes}`;
}

/** A vantage lives a moment before it takes documents. */
async function untilItTakesDocuments(site: string): Promise<void> {
  await fleet.until('it takes documents', async () => {
    const socket = connect(fleet.ports.votes, fleet.layout(site).vantageAddress);
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    return isOpen;
  });
}

describe('a push', () => {
  test('to one nameserver reaches all, is no news twice, and is seen from afar', async () => {
    const first = await run('push', '--at', votePort('gcp'));
    expect(first).toEqual({ code: 0, text: 'gcp: adopted' });
    await fleet.until('every vantage has it', async () => {
      const statuses = await Promise.all(SITES.map(statusOf));
      return statuses.every((status) => status?.manifestVersion === 1);
    });
    const again = await run('push', '--wait', '20', ...as);
    expect(again.text).toContain('aws: already\ngcp: already\nhetzner: already');
    expect(again.text).toContain('hold version 1');
    expect(again.code).toBe(0);
    // Nobody is at the relays' addresses: an answer that fails open is not well.
    await fleet.until('all of it is seen from afar', async () => {
      const { code, text } = await run('status', ...as);
      return code === 1 && text.startsWith('zone relay.test') && /^aws +1 .*FAIL OPEN/m.test(text);
    });
  });

  test('of an older version, or with another key, is refused by name, and the running one stays', async () => {
    await run('push', '--wait', '20');
    const old = readFileSync(join(fleet.operators.path, 'manifest.jws'), 'utf8');
    await run('sign', '--yes');
    expect(await run('push', '--wait', '20')).toMatchObject({ code: 0 });
    writeFileSync(join(fleet.operators.path, 'manifest.jws'), old);
    expect(await run('push')).toMatchObject({
      code: 2,
      text: expect.stringMatching(/aws: refused \(not_newer\)[\s\S]*somebody signed elsewhere/i) as string,
    });
    const [header, payload, signature = ''] = old.trim().split('.');
    const forged = `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    writeFileSync(join(fleet.operators.path, 'manifest.jws'), forged);
    expect(await run('push')).toMatchObject({
      code: 64,
      text: expect.stringContaining('not believed') as string,
    });
    expect((await statusOf('aws'))?.manifestVersion).toBe(2);
  });

  test('says who is not there, and does not believe who shows another key', async () => {
    await fleet.kill('hetzner-vantage');
    const some = await run('push');
    expect(some).toMatchObject({
      code: 1,
      text: expect.stringMatching(/hetzner: unreachable: .*ECONNREFUSED/) as string,
    });
    // The nameserver of gcp at the place of aws: its key is not the one that is listed there.
    await fleet.kill('aws-vantage');
    await fleet.kill('gcp-vantage');
    const stolen = fleet.secretFile('gcp', 'nameserver', '');
    fleet.startVantage('aws', {
      VANTAGE_TLS_CERTIFICATE: join(stolen, 'tls-certificate'),
      VANTAGE_TLS_KEY: join(stolen, 'tls-key'),
      VANTAGE_MANIFEST: join(fleet.operators.path, '..', 'other-manifest'),
    });
    await untilItTakesDocuments('aws');
    const none = await run('push');
    expect(none.code).toBe(3);
    expect(none.text).toContain('a key that the manifest does not list');
  });
});

describe('somebody on call', () => {
  beforeEach(async () => {
    expect(await run('push', '--wait', '20')).toMatchObject({ code: 0 });
  });

  test('drains and takes it back, and nobody undoes the word of another', async () => {
    const drained = await run('drain', 'aws', '--for', '30m', '--yes', ...as);
    expect(drained.text).toContain('DNS answers aws gcp hetzner now, and gcp hetzner then');
    expect(drained.code).toBe(0);
    expect(await run('freeze', '--for', '10m', '--yes', '--as', 'bob')).toMatchObject({ code: 0 });
    await fleet.until('every vantage knows both words', async () => {
      const statuses = await Promise.all(SITES.map(statusOf));
      return statuses.every(
        (status) => status?.frozenUntilWallMs !== null && status?.sites[0]?.override?.state === 'draining',
      );
    });
    // What holds is fetched first: gcp would be the second of three, hetzner the last.
    expect(await run('drain', 'gcp', '--for', '1h', '--hard', '--yes', ...as)).toMatchObject({ code: 0 });
    expect(await run('drain', 'hetzner', '--for', '1h', '--yes', ...as)).toMatchObject({
      code: 2,
      text: expect.stringContaining('drains_everything') as string,
    });
    expect(await run('undrain', 'aws', '--yes', ...as)).toMatchObject({ code: 0 });
    expect(await run('undrain', 'aws', '--yes', ...as)).toMatchObject({ code: 2 });
    expect(await run('serve', 'aws', '--for', '5m', '--yes', ...as)).toMatchObject({ code: 0 });
    expect(await run('unfreeze', '--yes', ...as)).toMatchObject({ code: 0 });
    const status = await statusOf('aws');
    expect(status?.sites.map(({ override }) => override?.state ?? null)).toEqual([
      'serving',
      'drained',
      null,
    ]);
    expect(status?.frozenUntilWallMs).toBeNull();
    expect(status?.overrides).toMatchObject({ by: 'alice' });
  });

  test('is told of what another said while they were asked, and undoes none of it', async () => {
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    const ask = async (): Promise<string> => {
      expect(await run('drain', 'gcp', '--for', '1h', '--yes', '--as', 'bob')).toMatchObject({ code: 0 });
      return 'y';
    };
    const words = ['aws', '--for', '30m', ...as, '--dir', fleet.operators.path];
    const code = await commandNamed('drain')?.run(words, {
      print: say,
      complain: say,
      // Fast by less than any node minds, so that what is said here would count as the newer word.
      clock: { ...systemClock, wallMs: () => systemClock.wallMs() + 10_000 },
      random: systemRandom,
      terminal: { ask, askSecret: ask },
      environment: {},
    });
    expect(code).toBe(2);
    expect(lines.at(-1)).toContain('said something else meanwhile');
    const status = await statusOf('gcp');
    expect(status?.sites.map(({ override }) => override?.state ?? null)).toEqual([null, 'draining', null]);
  });

  test('takes no site away while another one lacks copies, unless that is meant', async () => {
    // Alone and without memory, so that it cannot be refilled.
    fleet.startRelay('gcp');
    await fleet.until('its vantage knows that it is not whole', async () => {
      return (await statusOf('gcp'))?.relays.lacking.join() === 'gcp';
    });
    const refused = { code: 2, text: expect.stringContaining('copies_missing: gcp.') as string };
    const drain = ['drain', 'aws', '--for', '30m', '--yes', ...as];
    expect(await run(...drain)).toMatchObject(refused);
    expect(await run('drop', 'aws', '--yes', ...as)).toMatchObject(refused);
    expect(await run(...drain, '--despite', 'copies')).toMatchObject({ code: 64 });
    expect(await run('status', ...as)).toMatchObject({
      code: 1,
      text: expect.stringContaining('COPIES MISSING: gcp') as string,
    });
    // The site itself may be taken away, and so may any when somebody means it.
    expect(await run('drain', 'gcp', '--for', '30m', '--yes', ...as)).toMatchObject({ code: 0 });
    expect(await run(...drain, '--despite', 'copies_missing')).toMatchObject({ code: 0 });
    expect(await run('undrain', 'aws', '--yes', ...as)).toMatchObject({ code: 0 });
    for (const site of ['aws', 'hetzner']) fleet.startRelay(site);
    await fleet.until('all have been refilled', async () => {
      const statuses = await Promise.all(SITES.map(statusOf));
      return statuses.every((status) => status?.relays.count === 1 && status.relays.lacking.length === 0);
    });
    expect(await run(...drain)).toMatchObject({ code: 0 });
  });

  test('has to be listed, and everything ends for who no longer is', async () => {
    expect(await run('drain', 'aws', '--for', '1h', '--yes', '--as', 'bob')).toMatchObject({ code: 0 });
    const key = join(fleet.operators.path, 'on-call/bob.jwk');
    const kept = join(fleet.operators.path, '..', 'bob.jwk');
    cpSync(key, kept);
    await run('keys', 'on-call', 'bob', '--remove');
    await run('sign', '--yes');
    await run('push', '--wait', '20');
    expect((await statusOf('aws'))?.sites[0]?.override).toBeNull();
    expect(await run('drain', 'aws', '--for', '1h', '--yes', '--key', kept)).toMatchObject({
      code: 2,
      text: expect.stringContaining('does not list your key') as string,
    });
    expect(await run('status', '--key', kept)).toMatchObject({ code: 3 });
  });

  test('asks why the answer changed, from afar', async () => {
    // Nobody is at the relays' addresses, and then only those that are drained altogether stay out of the answer.
    await run('drain', 'aws', '--for', '1h', '--hard', '--yes', ...as);
    await fleet.until('aws has left the answer of gcp', async () => {
      const sites = (await statusOf('gcp'))?.answer?.sites ?? [];
      return sites.length > 0 && !sites.includes('aws');
    });
    const said = await run('explain', '--from', 'gcp', ...as);
    expect(said.text).toMatch(/by gcp, manifest 1: /);
    expect(said.text).toContain('the same answer');
    expect(said.code).toBe(0);
    expect(await run('explain', '--from', 'azure', ...as)).toMatchObject({ code: 64 });
  });
});

test('a witness is one more who looks, and leaves with its keys', async () => {
  const name = 'ovh';
  const { vantageAddress } = fleet.layout('gcp');
  const address = vantageAddress.replace(/\d+$/, '99');
  const place = ['--ipv4', address, '--vote-port', String(fleet.ports.votes)];
  expect(await run('witness', 'add', 'gcp', ...place)).toMatchObject({ code: 64 });
  expect(await run('witness', 'add', name, ...place)).toMatchObject({ code: 0 });
  fleet.startWitness(name, address);
  const waits = async (): Promise<boolean> =>
    await Promise.resolve(fleet.output(`${name}-vantage`).includes('no_manifest'));
  await fleet.until('the witness waits', waits);
  expect(await run('sign', '--yes')).toMatchObject({
    code: 0,
    text: expect.stringContaining(`witness ${name} (${name}) is new, at ${address}`) as string,
  });
  expect(await run('push', '--wait', '20')).toMatchObject({ code: 0 });
  await fleet.until('the others hear the witness', async () => {
    const statuses = await Promise.all(SITES.map(statusOf));
    return statuses.every(
      (status) => status?.sites[0]?.votes.some(({ vantage }) => vantage === name) === true,
    );
  });
  expect((await run('status', ...as)).text).toMatch(/ by ovh /);
  expect(await run('witness', 'remove', name)).toMatchObject({ code: 0 });
  expect(await run('witness', 'remove', name)).toMatchObject({ code: 64 });
  await run('sign', '--yes');
  expect(await run('push', '--wait', '20')).toMatchObject({ code: 0 });
  await fleet.until('nobody listens to it any more', async () => {
    const statuses = await Promise.all(SITES.map(statusOf));
    return statuses.every(
      (status) => status?.sites[0]?.votes.every(({ vantage }) => vantage !== name) === true,
    );
  });
});

test('a site whose processes are dead is dropped, and everybody else knows', async () => {
  await run('push', '--wait', '20');
  await fleet.kill('aws-vantage');
  const dropped = await run('drop', 'aws', '--yes', '--wait', '20', ...as);
  expect(dropped.text).toMatch(TAKEN_BY_TWO);
  expect(dropped.text).toContain('hold version 2');
  expect(dropped.code).toBe(0);
  expect((await statusOf('gcp'))?.sites.map(({ name }) => name)).toEqual(['gcp', 'hetzner']);
  // It comes back, with what it last knew, and is told by the others that it is gone.
  fleet.startVantage('aws');
  await fleet.until('aws knows that it is gone', async () => {
    const status = await statusOf('aws');
    return status?.waiting === 'not_in_manifest' && status.manifestVersion === 2;
  });
});

test('machines with the new key of the operators and machines with the old one take the same manifest', async () => {
  await run('push', '--wait', '20');
  await run('keys', 'rotate', 'operators');
  await run('sign', '--yes');
  await fleet.kill('aws-vantage');
  fleet.startVantage('aws', {
    VANTAGE_MANIFEST_KEY: readFileSync(join(fleet.operators.path, 'operators-next.pub'), 'utf8').trim(),
  });
  await untilItTakesDocuments('aws');
  expect(await run('push', '--wait', '20', ...as)).toMatchObject({
    code: 0,
    text: expect.stringMatching(/aws: adopted\ngcp: (adopted|already)\nhetzner: (adopted|already)/) as string,
  });
  await run('drain', 'gcp', '--for', '1h', '--yes', ...as);
  expect((await statusOf('aws'))?.sites[1]?.override?.state).toBe('draining');
  await run('keys', 'rotate', 'operators', '--retire');
  expect(await run('push')).toMatchObject({
    code: 1,
    text: expect.stringContaining('aws: already') as string,
  });
});
