/**
 * The boot script on whole machines: the Debian that sites run, started by systemd, gets its release from a server of
 * artifacts, and its services answer. Nothing of a provider is here: what its metadata service and its stores say is not.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makePinnedIdentity, makeVoteKey } from '../../fleet/certificates.ts';
import { hashOf, pack } from '../../fleet/release/archive.ts';
import { stageWorkingTree } from '../../fleet/release/local-tree.ts';
import { type BootPlan, renderBoot } from '../../infra/boot.ts';
import type { Role, SecretFiles } from '../../infra/site.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { ARTIFACT_PORT } from '../support/artifact-server.ts';
import {
  bootMachine,
  MACHINE_PROGRAMS,
  type Machine,
  makeDebian,
  type Ran,
} from '../support/debian-machine.ts';
import { eventually } from '../support/eventually.ts';
import { type Daemon, startDaemon, suiteWith } from '../support/programs.ts';

const MINUTES_MS = 60_000;
/** Where a relay asks for its manifest; nobody is there. */
const NAMESERVER = '127.0.0.9';
const PASSWORD = 'a-password-of-redis-0123456789';
const isRoot = process.getuid?.() === 0 || process.env['CI_NO_SKIP'] === '1';
const suite = suiteWith('the boot script on a Debian machine', MACHINE_PROGRAMS);
const title = isRoot ? suite.title : `${suite.title} (skipped: only root may start one)`;

/** Everything that a boot may write: rights, owners, and of what is no directory also times and what is in it. */
const STATE =
  'find /etc /opt /usr /root /var/lib -xdev ! -path "/var/lib/systemd/*" ! -path "/var/lib/archipelago/*" ' +
  "\\( -type d -printf '%p %m %U:%G\\n' -o -printf '%p %m %U:%G %T@ %s %l\\n' \\); " +
  'find /etc -xdev -type f | xargs sha256sum';

let directory = '';
let shared = '';
let sha256 = '';
let machine: Machine | undefined;
let server: Daemon | undefined;

describe.skipIf(suite.skipped || !isRoot)(title, () => {
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'archipelago-machine-'));
    shared = join(directory, 'shared');
    mkdirSync(shared);
    const archive = join(shared, 'release.tar.gz');
    stageWorkingTree(join(directory, 'tree'));
    pack(join(directory, 'tree'), archive, 1_700_000_000);
    sha256 = hashOf(archive);
    // Right but for its last byte.
    const bytes = readFileSync(archive);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(join(shared, 'corrupted.tar.gz'), bytes);
    makeDebian(join(directory, 'root'));
  }, 10 * MINUTES_MS);

  afterEach(stop);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each<[Role]>([['relay'], ['nameserver']])(
    'makes a %s that waits for its manifest',
    {
      timeout: 3 * MINUTES_MS,
    },
    async (role) => {
      const { run, boot, asked } = await start(role);

      const first = await boot();
      expect(first.output).toContain(
        'corrupted.tar.gz: refused, not the release that is pinned; trying the next',
      );
      expect(first.output).toContain('absent.tar.gz: no answer, trying the next');
      expect(first.code).toBe(0);
      expect(asked()).toEqual(['/corrupted.tar.gz', '/absent.tar.gz', '/release.tar.gz']);

      expect(await run('curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:9100/livez')).toMatchObject({
        output: '200',
      });
      expect((await run('curl -s -w " %{http_code}" http://127.0.0.1:9100/readyz')).output).toMatch(
        /no_manifest.* 503$/,
      );
      expect((await run('systemctl --failed --no-legend')).output).toBe('');
      await unitsAreSound(run, [
        'archipelago.service',
        'archipelago-guard.service',
        'archipelago-watch.timer',
      ]);
      const user = 'stat -c %U /proc/$(systemctl show -P MainPID archipelago.service)';
      expect((await run(user)).output).toBe('archipelago\n');

      // Only root reaches the metadata service.
      const metadata = 'curl -s -m 5 http://169.254.169.254/';
      expect(await run(metadata)).toEqual({ code: 0, output: 'credentials' });
      const asService = await run(`setpriv --reuid=archipelago --clear-groups ${metadata}`);
      expect(asService.code).not.toBe(0);
      expect(asService.output).not.toContain('credentials');

      await changesNothing(run, boot, 'archipelago.service');
      expect(asked()).toHaveLength(3);

      // A service that dies is started again.
      await run('systemctl kill -s SIGKILL archipelago.service');
      await eventually(
        'the service to be back',
        async () => ((await run('curl -fs http://127.0.0.1:9100/livez')).code === 0 ? true : undefined),
        30_000,
      );
    },
  );

  test('makes a Redis on a disk of its own, which it formats once', {
    timeout: 3 * MINUTES_MS,
  }, async () => {
    const file = join(directory, 'disk');
    writeFileSync(file, '');
    truncateSync(file, 64 << 20);
    const disk = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
    try {
      const { run, boot } = await start('redis', disk);
      const first = await boot();
      expect(first.code, first.output).toBe(0);
      const ask = (words: string): Promise<Ran> =>
        run(`REDISCLI_AUTH=${PASSWORD} redis-cli -h 10.80.0.10 ${words}`);
      expect((await ask('config get appendfsync')).output).toBe('appendfsync\nalways\n');
      expect((await ask('set accepted yes')).output).toBe('OK\n');
      expect((await run('redis-cli -h 10.80.0.10 get accepted')).output).toContain('NOAUTH');
      expect((await run('findmnt -n -o SOURCE,FSTYPE /var/lib/archipelago-redis')).output).toMatch(
        new RegExp(`^${disk} +ext4`),
      );
      await unitsAreSound(run, ['archipelago-redis.service', 'archipelago-disk.service']);
      await changesNothing(run, boot, 'archipelago-redis.service');
      await run('systemctl kill -s SIGKILL archipelago-redis.service');
      await eventually(
        'what was accepted to be there again',
        async () => ((await ask('get accepted')).output === 'yes\n' ? true : undefined),
        30_000,
      );
      // What Redis cannot read is out of its way at the second start, without anybody.
      const folder = '/var/lib/archipelago-redis';
      const harm = `sed -i 's/^set/ZZZ/' ${folder}/appendonlydir/*.incr.aof`;
      await run(
        `systemctl stop archipelago-redis.service; ${harm}; systemctl start archipelago-redis.service`,
      );
      await eventually(
        'an empty Redis',
        async () => ((await ask('get accepted')).output === '\n' ? true : undefined),
        60_000,
      );
      expect((await run(`ls ${folder}/damaged`)).output).toContain('.incr.aof');
      expect((await run('journalctl -u archipelago-redis -o cat')).output).toContain('set aside as');
    } finally {
      await stop();
      execFileSync('losetup', ['--detach', disk]);
    }
  });

  test('changes what is wrong and nothing else', { timeout: 3 * MINUTES_MS }, async () => {
    const { run, boot } = await start('nameserver');
    expect((await boot()).code).toBe(0);
    const started = (await run('systemctl show -p MainPID archipelago.service')).output;
    // Somebody's hand; a secret that the stack no longer has.
    await run(
      'echo VANTAGE_LOG_LEVEL=debug >>/etc/archipelago/environment; touch /etc/archipelago/secret/old-key',
    );
    expect((await boot()).code).toBe(0);
    expect((await run('cat /etc/archipelago/environment')).output).not.toContain('debug');
    expect((await run('ls /etc/archipelago/secret')).output.split('\n').filter(Boolean)).toEqual([
      'tls-certificate',
      'tls-key',
      'vote-key',
    ]);
    expect((await run('systemctl show -p MainPID archipelago.service')).output).not.toBe(started);
    expect((await run('test -e /etc/archipelago/changed')).code).not.toBe(0);
  });
});

interface Started {
  readonly run: Machine['run'];
  readonly boot: () => Promise<Ran>;
  /** Paths that the server of artifacts was asked for. */
  readonly asked: () => readonly string[];
}

async function stop(): Promise<void> {
  await machine?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  machine = undefined;
  server = undefined;
}

/** A machine of that role that has not run its boot script yet. */
async function start(role: Role, disk?: string): Promise<Started> {
  const host = `http://127.0.0.1:${ARTIFACT_PORT}`;
  const urls = ['corrupted', 'absent', 'release'].map((name) => `${host}/${name}.tar.gz`);
  const script = renderBoot(planOf(role, await secretFiles(), urls, disk));
  writeFileSync(join(shared, `${role}.sh`), script);
  machine = await bootMachine(role, join(directory, 'root'), shared, disk === undefined ? [] : [disk]);
  const program = join(import.meta.dirname, '../support/artifact-server.ts');
  const words = ['netns', 'exec', machine.namespace, process.execPath, program, shared];
  const artifacts = startDaemon('ip', words);
  server = artifacts;
  await eventually('artifacts to be served', () =>
    artifacts.output().includes('listening') ? true : undefined,
  );
  const { run } = machine;
  return {
    run,
    boot: () => run(`sh /srv/${role}.sh`),
    asked: () => [...artifacts.output().matchAll(/^asked (.*)$/gm)].map(([, path = '']) => path),
  };
}

function planOf(
  role: Role,
  secrets: SecretFiles,
  urls: readonly string[],
  disk: string | undefined,
): BootPlan {
  return {
    role,
    ...(disk === undefined ? {} : { disk }),
    ...(role === 'relay' ? { manifestFrom: NAMESERVER } : {}),
    spec: {
      name: 'aws',
      provider: 'aws',
      location: 'eu-central-1',
      zones: ['eu-central-1a', 'eu-central-1b'],
      relays: 2,
      relaysMax: 2,
      redisGb: 10,
      sizes: {},
    },
    options: {
      isProtected: true,
      release: { sha256, urls },
      manifestKey: 'k'.repeat(43),
      manifestVersionMin: 1,
      rolloutTimeoutS: 0,
      nameserverSettings: {},
      secrets,
    },
    secretsFrom: { kind: 'inline' },
  };
}

async function secretFiles(): Promise<SecretFiles> {
  const context = { wallMs: systemClock.wallMs(), random: systemRandom };
  const peer = await makePinnedIdentity(context, 'peer');
  const vantage = await makePinnedIdentity(context, 'vantage');
  return {
    relay: {
      'peer-certificate': peer.certificatePem,
      'peer-key': peer.keyPem,
      'operator-tokens': createHash('sha256').update('a token of the operators').digest('hex'),
      'redis-password': PASSWORD,
    },
    redis: { 'redis-password': PASSWORD },
    nameserver: {
      'vote-key': makeVoteKey().keyPem,
      'tls-certificate': vantage.certificatePem,
      'tls-key': vantage.keyPem,
    },
  };
}

/** Booting again, as at every start of a machine at Google, fetches, writes and restarts nothing. */
async function changesNothing(run: Machine['run'], boot: Started['boot'], unit: string): Promise<void> {
  const state = `{ ${STATE}; systemctl show -p ActiveEnterTimestampMonotonic -p MainPID ${unit}; } | sort`;
  await run(`${state} >/run/before`);
  expect((await run('wc -l </run/before')).output).toMatch(/^\d{4,}\n$/);
  expect((await boot()).code).toBe(0);
  expect(await run(`${state} | diff /run/before -`)).toEqual({ code: 0, output: '' });
}

/** systemd knows every word of these units, and thinks little of what an attacker could do with the service. */
async function unitsAreSound(run: Machine['run'], units: readonly string[]): Promise<void> {
  const verified = await run(`systemd-analyze verify --man=no ${units.join(' ')}`);
  expect(verified).toEqual({ code: 0, output: '' });
  const { code, output } = await run(`systemd-analyze security --no-pager --threshold=25 ${units[0]}`);
  expect(output.split('\n').filter((line) => line.includes('Overall'))).toHaveLength(1);
  expect(code, output).toBe(0);
}
