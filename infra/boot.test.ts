/**
 * The boot script, run: its parts for real, in a root of their own, against a server of releases. What a whole machine
 * does with it is in test/integration/boot.test.ts.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RELAY_NODE_OPTIONS } from '../fleet/local/relay-environment.ts';
import { VANTAGE_SETTINGS } from '../healthcheck/config.ts';
import { RELAY_SETTINGS } from '../relay/config.ts';
import { readSettings, type Shape } from '../system/settings.ts';
import { secretsOf } from '../test/support/mock-engine.ts';
import { suiteWith } from '../test/support/programs.ts';
import { BOOT_BYTES_MAX, renderBoot } from './boot.ts';
import type { Role, SecretFiles, SiteSpec } from './site.ts';

const SET_ASIDE = join(import.meta.dirname, 'set-aside.sh');

const spec: SiteSpec = {
  name: 'hetzner',
  provider: 'hetzner',
  location: 'fsn1',
  zones: ['eu-central'],
  relays: 2,
  relaysMax: 2,
  redisGb: 20,
  sizes: {},
};

let root = '';
let server: Server;
let asked: string[] = [];
let archive: Buffer;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'archipelago-boot-'));
  asked = [];
  archive = makeArchive();
  server = createServer(({ url = '' }, response) => {
    asked.push(url);
    if (url === '/good') response.end(archive);
    else if (url === '/corrupted') response.end(Buffer.concat([archive, Buffer.of(0)]));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});

afterEach(() => {
  server.close();
  rmSync(root, { recursive: true });
});

const fetching = suiteWith('the release', ['curl']);
describe.skipIf(fetching.skipped)(fetching.title, () => {
  test('is taken from the first address that has the pinned bytes; a corrupted one is refused', async () => {
    const { code, stderr } = await run('relay', 'fetch_release', [
      '/missing',
      '/corrupted',
      '/good',
      '/missing',
    ]);
    expect(code).toBe(0);
    expect(asked).toEqual(['/missing', '/corrupted', '/good']);
    expect(stderr).toMatch(/\/missing: no answer[^]*\/corrupted: refused, not the release that is pinned/);
    expect(readFileSync(join(releaseTree(), 'relay/main.ts'), 'utf8')).toBe('a relay');
  });

  test('has its name only once it is on the disk', async () => {
    const program = `#!/bin/sh\nls '${join(root, 'opt/archipelago/releases')}' >'${join(root, 'at-sync')}'\n`;
    expect((await run('relay', 'fetch_release', ['/good'], { sync: program })).code).toBe(0);
    expect(readFileSync(join(root, 'at-sync'), 'utf8')).toBe(`${sha256()}.part\n`);
    expect(existsSync(releaseTree())).toBe(true);
  });

  test('that is there already is not fetched again', async () => {
    await run('relay', 'fetch_release', ['/good']);
    asked = [];
    expect((await run('relay', 'fetch_release', ['/good'])).code).toBe(0);
    expect(asked).toEqual([]);
  });

  test('that nobody has leaves nothing behind, and the boot fails', async () => {
    const { code, stderr } = await run('relay', 'fetch_release', ['/corrupted', '/missing']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('none of the addresses has the release');
    expect(existsSync(releaseTree())).toBe(false);
    expect(existsSync(`${releaseTree()}.part`)).toBe(false);
  });
});

describe.each<[Role, Shape, string]>([
  ['relay', RELAY_SETTINGS, 'RELAY_'],
  ['nameserver', VANTAGE_SETTINGS, 'VANTAGE_'],
])('a machine that is a %s', (role, settings, prefix) => {
  test('gets settings that the program of the release takes, and the files that they name', async () => {
    expect((await run(role, 'fetch_secrets')).code).toBe(0);
    expect((await run(role, `install_${role}`)).code).toBe(0);
    const environment = Object.fromEntries(
      readFileSync(join(root, 'etc/archipelago/environment'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/, 2) as [string, string])
        .map(([name, value]) => [name, value.replace(/^\/(etc|var)\//, `${root}/$1/`)]),
    );
    mkdirSync(join(root, 'var/lib/archipelago'), { recursive: true });
    writeFileSync(join(root, 'var/lib/archipelago/manifest.jws'), 'a manifest');
    const read = readSettings(prefix, settings, environment);
    expect(read.ok ? [] : read.fault).toEqual([]);
    expect(read.ok ? read.value[`${prefix}TLS_KEY`] : '').toBe('THE-CONTENT-OF-tls-key');
    expect(environment['NODE_OPTIONS']).toBe(role === 'relay' ? RELAY_NODE_OPTIONS : undefined);
  });

  test('that boots again changes nothing', async () => {
    for (const part of ['fetch_secrets', `install_${role}`]) await run(role, part);
    expect(existsSync(join(root, 'etc/archipelago/changed'))).toBe(true);
    rmSync(join(root, 'etc/archipelago/changed'));
    for (const part of ['fetch_secrets', `install_${role}`]) await run(role, part);
    expect(existsSync(join(root, 'etc/archipelago/changed'))).toBe(false);
  });
});

test('a secret file that finds no room on the disk is not put in place of the whole one', async () => {
  const large = { ...secretsOf(spec), relay: { 'peer-key': 'k'.repeat(2000) } } as unknown as SecretFiles;
  await run('relay', 'fetch_secrets', [], {}, { ...large, relay: { 'peer-key': 'old' } });
  const key = join(root, 'etc/archipelago/secret/peer-key');
  expect(readFileSync(key, 'utf8')).toBe('old');
  // A file may have 512 bytes here.
  const cat = '#!/bin/sh\nulimit -f 1\nexec /bin/cat\n';
  expect((await run('relay', 'fetch_secrets', [], { cat }, large)).code).not.toBe(0);
  expect(readFileSync(key, 'utf8')).toBe('old');
  expect(existsSync(`${key}.new`)).toBe(false);
  expect((await run('relay', 'fetch_secrets', [], {}, large)).code).toBe(0);
  expect(statSync(key).size).toBe(2000);
});

test('packages are installed by a later try when the first finds the lock taken or the mirror late', async () => {
  const log = join(root, 'apt');
  const programs = {
    'dpkg-query': '#!/bin/sh\nexit 1\n',
    'apt-get': `#!/bin/sh\necho "$1" >>'${log}'\n[ "$(grep -c "$1" '${log}')" -gt 2 ]\n`,
  };
  expect((await run('relay', 'packages curl', [], programs)).code).toBe(0);
  expect(readFileSync(log, 'utf8')).toBe(`${'update\n'.repeat(3)}${'install\n'.repeat(3)}`);
});

describe('the disk of a Redis', () => {
  const record = (name: string): string => `#!/bin/sh\necho ${name} >>'${root}/done'\n`;
  const prepare = async (bytes: number): Promise<{ readonly code: number; readonly done: string }> => {
    writeFileSync(join(root, 'disk'), Buffer.alloc(bytes));
    writeFileSync(join(root, 'done'), '');
    const nothing = '#!/bin/sh\n';
    const { code } = await run('redis', 'prepare_disk', [], {
      blkid: nothing,
      mkdir: nothing,
      chmod: nothing,
      mountpoint: '#!/bin/sh\nexit 1\n',
      'mkfs.ext4': record('formatted'),
      mount: record('mounted'),
    });
    return { code, done: readFileSync(join(root, 'done'), 'utf8') };
  };

  test('is formatted when there is nothing on it', async () => {
    expect(await prepare(1_048_576)).toEqual({ code: 0, done: 'formatted\nmounted\n' });
  });

  test('is left alone while it cannot be read', async () => {
    const { code, done } = await prepare(1_048_575);
    expect(code).not.toBe(0);
    expect(done).toBe('');
  });
});

test('a Redis keeps what it has accepted, listens inside the site only, and waits for its disk', async () => {
  await run('redis', 'fetch_secrets');
  expect((await run('redis', 'install_redis')).code).toBe(0);
  const lines = readFileSync(join(root, 'etc/archipelago/redis.conf'), 'utf8').split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'bind 10.80.0.10',
      'requirepass a-password-of-redis-0123456789',
      'appendonly yes',
      'appendfsync always',
      'no-appendfsync-on-rewrite no',
      'maxmemory-policy noeviction',
    ]),
  );
  expect(lines.find((line) => line.startsWith('maxmemory '))).toMatch(/^maxmemory \d{5,}kb$/);
  const unit = readFileSync(join(root, 'etc/systemd/system/archipelago-redis.service'), 'utf8');
  expect(unit).toContain('Requires=archipelago-disk.service');
  expect(unit).toContain('AssertPathIsMountPoint=/var/lib/archipelago-redis');
  const before =
    /^ExecStartPre=\+.*journalctl.* \| (\S+) \/var\/lib\/archipelago-redis'$/m.exec(unit)?.[1] ?? '';
  const installed = join(root, before);
  expect(readFileSync(installed, 'utf8')).toBe(readFileSync(SET_ASIDE, 'utf8'));
  expect(statSync(installed).mode & 0o777).toBe(0o755);
});

const linting = suiteWith('shellcheck has nothing to say', ['shellcheck']);
test.skipIf(linting.skipped)(linting.title, () => {
  const script = join(root, 'boot.sh');
  writeFileSync(script, render('relay', []));
  const words = ['--exclude=SC2034', script, SET_ASIDE];
  const { stdout, status } = spawnSync('shellcheck', words, { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

const verifying = suiteWith('systemd knows every word of the units', ['systemd-analyze']);
test.skipIf(verifying.skipped)(verifying.title, async () => {
  for (const part of ['fetch_secrets', 'install_guard', 'install_relay']) await run('relay', part);
  // systemd wants the programs to be there, in its own root.
  for (const path of [
    'opt/archipelago/current/bin/node',
    'bin/kill',
    'bin/sh',
    'usr/sbin/nft',
    'usr/sbin/init',
  ]) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), '#!/bin/sh\n', { mode: 0o755 });
  }
  const names = ['archipelago', 'archipelago-guard', 'archipelago-watch'];
  const units = [...names.map((name) => `${name}.service`), 'archipelago-watch.timer'];
  const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', `--root=${root}`, ...units], {
    encoding: 'utf8',
  });
  // The root has no units of the system itself, which it says of each unit at the end.
  const complaints = stderr.split('\n').filter((line) => !line.includes('sysinit.target not found'));
  expect(complaints.filter((line) => line.includes('archipelago'))).toEqual([]);
});

const exposing = suiteWith('an attacker in a service finds little', ['systemd-analyze']);
test.skipIf(exposing.skipped)(exposing.title, async () => {
  await run('redis', 'fetch_secrets');
  for (const role of ['relay', 'redis'] as const) await run(role, `install_${role}`);
  for (const name of ['archipelago', 'archipelago-redis']) {
    const unit = join(root, `etc/systemd/system/${name}.service`);
    const words = ['security', '--offline=yes', '--no-pager', '--threshold=20', unit];
    const { status, stdout } = spawnSync('systemd-analyze', words, { encoding: 'utf8' });
    expect(stdout).toContain('Overall exposure level');
    expect(status, stdout).toBe(0);
  }
});

test.each<Role>(['relay', 'nameserver', 'redis'])(
  'the script of a %s leaves room for secret files',
  (role) => {
    expect(
      BOOT_BYTES_MAX - Buffer.byteLength(render(role, [], { relay: {}, nameserver: {}, redis: {} })),
    ).toBeGreaterThan(3000);
  },
);

test('a script that is larger than its provider takes is refused with what to do', () => {
  const secrets = secretsOf(spec) as unknown as SecretFiles;
  const relay = { ...secrets.relay, 'tls-certificate': 'x'.repeat(30_000) };
  expect(() => render('relay', [], { ...secrets, relay })).toThrow(/site hetzner .* 32768 bytes/);
});

/**
 * Runs one function of the script in `root`, with `stubs` in the place of programs, by name. Owners are left alone, so that
 * nobody has to be root.
 */
async function run(
  role: Role,
  part: string,
  paths: readonly string[] = ['/good'],
  stubs: Readonly<Record<string, string>> = {},
  secrets?: SecretFiles,
): Promise<{ readonly code: number; readonly stderr: string }> {
  const script = join(root, 'boot.sh');
  const programs = join(root, 'programs');
  rmSync(programs, { recursive: true, force: true });
  mkdirSync(programs);
  for (const [name, text] of Object.entries({ chown: '#!/bin/sh\n', ...stubs }))
    writeFileSync(join(programs, name), text, { mode: 0o755 });
  writeFileSync(
    script,
    render(role, paths, secrets)
      .replace("ROOT=''", `ROOT='${root}'`)
      .replace(/^DISK=.*$/m, `DISK='${root}/disk'`)
      .replace(/^DISK_KEY=.*$/m, "DISK_KEY=''"),
  );
  return new Promise((resolve) => {
    const [name, ...words] = part.split(' ');
    const env = { PATH: `${programs}:${process.env['PATH']}`, BOOT_FUNCTION: name, RETRY_SECONDS: '0' };
    execFile('sh', [script, ...words], { env }, (error, _, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stderr });
    });
  });
}

function render(
  role: Role,
  paths: readonly string[],
  secrets = secretsOf(spec) as unknown as SecretFiles,
): string {
  const { port } = server.address() as AddressInfo;
  return renderBoot({
    role,
    spec,
    secretsFrom: { kind: 'inline' },
    options: {
      isProtected: true,
      release: { sha256: sha256(), urls: paths.map((path) => `http://127.0.0.1:${port}${path}`) },
      manifestKey: 'k'.repeat(43),
      manifestVersionMin: 1,
      rolloutTimeoutS: 0,
      nameserverSettings: {},
      secrets,
    },
  });
}

function sha256(): string {
  return createHash('sha256').update(archive).digest('hex');
}

function releaseTree(): string {
  return join(root, 'opt/archipelago/releases', sha256());
}

function makeArchive(): Buffer {
  const tree = join(root, 'tree');
  mkdirSync(join(tree, 'relay'), { recursive: true });
  writeFileSync(join(tree, 'relay/main.ts'), 'a relay');
  return spawnSync('tar', ['-czf', '-', '-C', tree, '.']).stdout;
}
