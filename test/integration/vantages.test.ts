/**
 * Three vantages as the processes that production runs, on loopback: a relay dies and leaves the answer of every
 * nameserver, returns and comes back; a vantage that is cut off changes nothing.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readState } from '../../healthcheck/adapters/state-file.ts';
import { TYPE } from '../../healthcheck/dns/message.ts';
import { ask } from '../support/dns-client.ts';
import { eventually } from '../support/eventually.ts';
import {
  createVantageFleet,
  FAST_POLICY,
  type RunningVantage,
  startWellVantages,
  type VantageFleet,
  ZONE,
} from '../support/vantage-fleet.ts';

let fleet: VantageFleet;
let vantages: readonly RunningVantage[];

beforeEach(async () => {
  fleet = await createVantageFleet(41, FAST_POLICY);
  vantages = await startWellVantages(fleet);
}, 120_000);

afterEach(async () => fleet[Symbol.asyncDispose]());

async function addressesFrom(vantage: RunningVantage): Promise<readonly string[]> {
  const response = await ask({ address: vantage.address, port: vantage.dnsPort }, ZONE, TYPE.A);
  const answers = response?.answers ?? [];
  return answers.flatMap((record) => (record.type === 'A' ? [record.address] : [])).toSorted();
}

async function untilAnswerIs(vantage: RunningVantage, addresses: readonly string[]): Promise<void> {
  const wanted = addresses.toSorted().join();
  await eventually(`${vantage.site} answers ${wanted}`, async () =>
    (await addressesFrom(vantage)).join() === wanted ? true : undefined,
  );
}

test('a relay that dies leaves the answer of every nameserver, and comes back when it returns', async () => {
  const { aws, gcp, hetzner } = fleet.relayAddress;
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, gcp, hetzner]);

  await fleet.stopRelay('gcp');
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, hetzner]);
  const status = await vantages[0]?.status();
  expect(status?.answer).toMatchObject({ sites: ['aws', 'hetzner'], failOpen: false });
  expect(status?.sites.find((site) => site.name === 'gcp')?.health).toBe('down');

  await fleet.startRelay('gcp');
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, gcp, hetzner]);
  const told = vantages[0]?.lines.filter((line) => line.event === 'answer').map((line) => line['sites']);
  expect(told).toStrictEqual(['aws,gcp,hetzner', 'aws,hetzner', 'aws,gcp,hetzner']);
}, 60_000);

test('a whole provider that dies, vantage and all, leaves the answer of the two others', async () => {
  const { aws, hetzner } = fleet.relayAddress;
  await vantages[1]?.kill('SIGKILL');
  await fleet.stopRelay('gcp');
  for (const vantage of vantages.filter(({ site }) => site !== 'gcp')) {
    await untilAnswerIs(vantage, [aws, hetzner]);
  }
}, 60_000);

test('a vantage that is cut off keeps its answer, and its silence withdraws nobody', async () => {
  const { aws, gcp, hetzner } = fleet.relayAddress;
  const [first, second, lonely] = vantages;
  if (first === undefined || second === undefined || lonely === undefined) throw new Error('three vantages');
  fleet.cut('hetzner');
  await eventually('hetzner knows that it is cut off', async () =>
    (await lonely.status()).isolated ? true : undefined,
  );

  // Only aws and hetzner may judge gcp, and hetzner is cut off: nobody may withdraw it, however dead it is.
  await fleet.stopRelay('gcp');
  for (const vantage of [first, lonely]) {
    await eventually(`${vantage.site} has seen that gcp is down`, () =>
      vantage.lines.find(
        (line) => line.event === 'verdict' && line['target'] === 'gcp' && line['verdict'] === 'down',
      ),
    );
  }
  expect(await addressesFrom(first)).toStrictEqual([aws, gcp, hetzner]);
  expect(await addressesFrom(lonely)).toStrictEqual([aws, gcp, hetzner]);
  const status = await lonely.status();
  expect(status.answer.ttlSeconds).toBe(FAST_POLICY.ttlMinSeconds);

  fleet.heal('hetzner');
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, hetzner]);
}, 60_000);

test('a newer manifest takes effect while nameservers answer, and an older one is refused', async () => {
  const { aws, gcp, hetzner } = fleet.relayAddress;
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, gcp, hetzner]);
  const untilWallMs = Date.now() + 3_600_000;
  const drained = {
    sites: [{ site: 'gcp', state: 'draining' as const, untilWallMs }],
    frozenUntilWallMs: null,
  };
  for (const vantage of vantages) await fleet.handManifest(vantage, { version: 2, overrides: drained });
  for (const vantage of vantages) {
    await untilAnswerIs(vantage, [aws, hetzner]);
    await eventually(`${vantage.site} hears the others again`, async () => {
      const { isolated, manifestVersion } = await vantage.status();
      return (!isolated && manifestVersion === 2) || undefined;
    });
  }
  const [first] = vantages;
  if (first === undefined) throw new Error('three vantages');
  await fleet.handManifest(first, { version: 1 });
  await eventually('the older manifest is refused', () =>
    first.lines.find((line) => line.event === 'manifest refused' && line['reason'] === 'not_newer'),
  );
  expect(await addressesFrom(first)).toStrictEqual([aws, hetzner]);
  for (const vantage of vantages) await fleet.handManifest(vantage, { version: 3 });
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, gcp, hetzner]);
}, 60_000);

test('a vantage that restarts begins with the answer that it gave before', async () => {
  const { aws, hetzner } = fleet.relayAddress;
  await fleet.stopRelay('gcp');
  for (const vantage of vantages) await untilAnswerIs(vantage, [aws, hetzner]);
  // It is on disk a moment after it is served.
  await eventually('aws has saved that answer', async () => {
    const saved = await readState(vantages[0]?.stateDir ?? '');
    return (saved.ok && saved.value?.targets.join() === 'aws/ipv4,hetzner/ipv4') || undefined;
  });
  await vantages[0]?.kill('SIGKILL');
  const again = await fleet.startVantage('aws');
  await untilAnswerIs(again, [aws, hetzner]);
  expect(again.lines.find((line) => line.event === 'cold start')).toMatchObject({ source: 'persisted' });
  const told = again.lines.filter((line) => line.event === 'answer').map((line) => line['sites']);
  expect(told).toStrictEqual(['aws,hetzner']);
}, 60_000);

test('a vantage whose main thread hangs ends itself, and what starts again answers as before and goes on', async () => {
  const { aws, gcp, hetzner } = fleet.relayAddress;
  await vantages[0]?.kill('SIGTERM');
  const hanging = await fleet.startVantage('aws', 'test/mutants/vantage-hangs.ts');
  await untilAnswerIs(hanging, [aws, gcp, hetzner]);
  const hungMs = performance.now();
  void hanging.kill('SIGUSR2');
  // Its main thread no longer says anything, and its other thread still answers.
  await eventually('it is silent', async () => {
    const status = hanging.status().then(
      () => undefined,
      () => undefined,
    );
    return Promise.race([status, sleep(500).then(() => true)]);
  });
  expect(await addressesFrom(hanging)).toHaveLength(3);
  expect(await hanging.exited).toBe(null);
  expect(performance.now() - hungMs).toBeGreaterThan(8000);
  expect(hanging.lines.at(-1)).toMatchObject({ event: 'main thread hangs', level: 'error', site: 'aws' });

  const again = await fleet.startVantage('aws');
  await untilAnswerIs(again, [aws, gcp, hetzner]);
  await fleet.stopRelay('gcp');
  await untilAnswerIs(again, [aws, hetzner]);
}, 90_000);

test('the mutant that never withdraws sees as much and does nothing', async () => {
  const { aws, gcp, hetzner } = fleet.relayAddress;
  await vantages[0]?.kill('SIGTERM');
  const mutant = await fleet.startVantage('aws', 'test/mutants/vantage-never-withdraws.ts');
  await eventually('the mutant knows that gcp is up', async () => {
    const status = await mutant.status().catch(() => undefined);
    return status?.sites.find((site) => site.name === 'gcp' && site.health === 'up');
  });
  await fleet.stopRelay('gcp');
  await eventually('the mutant knows that gcp is down', async () =>
    (await mutant.status()).sites.find((site) => site.name === 'gcp' && site.health === 'down'),
  );
  expect(await addressesFrom(mutant)).toStrictEqual([aws, gcp, hetzner]);
}, 60_000);

test('a port that is taken ends a vantage with one sentence that names it', async () => {
  const [running] = vantages;
  if (running === undefined) throw new Error('three vantages');
  const second = await fleet.startVantage('aws');
  expect(await second.exited).toBe(1);
  expect(second.lines.find((line) => line.event === 'failed')?.['reason']).toBe(
    `ListenError: cannot listen for DNS over TCP at ${running.address}:${running.dnsPort}: another program already uses it`,
  );
}, 60_000);

test('settings that make no sense end a vantage with code 64 and all of them named', async () => {
  const main = join(import.meta.dirname, '../../healthcheck/main.ts');
  const environment = { VANTAGE_SITE: 'AWS', VANTAGE_DNS_LISTN: '127.0.0.1:53' };
  const child = spawn(process.execPath, [main], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  const [told, code] = await Promise.all([
    text(child.stderr),
    new Promise((resolve) => child.once('exit', resolve)),
  ]);
  expect(code).toBe(64);
  expect(told).toContain('VANTAGE_SITE: expected');
  expect(told).toContain('VANTAGE_DNS_LISTN: no such setting; did you mean VANTAGE_DNS_LISTEN?');
  expect(told).toContain('VANTAGE_STATE_DIR: expected the path of an existing directory, got nothing');
});

test('a vantage stops cleanly when it is told to', async () => {
  const codes = await Promise.all([
    vantages[0]?.kill('SIGTERM'),
    vantages[1]?.kill('SIGINT'),
    vantages[2]?.kill('SIGTERM'),
  ]);
  expect(codes).toStrictEqual([0, 0, 0]);
});

test('what one site has to prove to a certificate authority is on every nameserver', async () => {
  const [first] = vantages;
  if (first === undefined) throw new Error('no vantage');
  const value = 'v'.repeat(43);
  const response = await fetch(`http://${first.privateAddress}:${first.privatePort}/acme-challenges`, {
    method: 'PUT',
    body: JSON.stringify({ zone: [value], site: [value] }),
  });
  expect(await response.json()).toStrictEqual({ confirmed: ['aws', 'gcp', 'hetzner'], missing: [] });
  for (const vantage of vantages) {
    for (const name of [`_acme-challenge.${ZONE}`, `_acme-challenge.aws.${ZONE}`]) {
      const reply = await ask({ address: vantage.address, port: vantage.dnsPort }, name, TYPE.TXT);
      const texts = reply?.answers.map((record) =>
        record.type === 'other' ? Buffer.from(record.data.subarray(1)).toString() : '',
      );
      expect(texts).toStrictEqual([value]);
    }
  }
}, 60_000);
