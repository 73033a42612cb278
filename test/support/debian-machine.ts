/**
 * A throw-away Debian machine: the system that sites run, with systemd as its first process, in a network of its own
 * that has loopback addresses only. What is written in it is gone with it.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { configure, namespaceName, removeLeftovers, removeNamespace } from '../../fleet/local/namespaces.ts';
import { eventually } from './eventually.ts';
import { type Daemon, startDaemon } from './programs.ts';

/** Programs that this needs, of the packages iproute2, util-linux, mmdebstrap and systemd-container; and root. */
export const MACHINE_PROGRAMS = ['ip', 'nsenter', 'mmdebstrap', 'systemd-nspawn'] as const;

/** What the providers' images of Debian 13 have, as far as the boot script needs it. */
const PACKAGES = 'systemd,systemd-sysv,curl,ca-certificates,nftables,redis-server,e2fsprogs';
const LEFT_OUT = ['doc', 'man', 'locale'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
/** It lasts for one test: nothing has to be on disk before the next package is unpacked. */
const UNSAFE = '--dpkgopt=force-unsafe-io';
const BOOT_WITHIN_MS = 60_000;

/**
 * Makes the system in `root`, from Debian's mirror, which takes minutes. mmdebstrap, because it takes the options of dpkg
 * that leave out what nobody reads here.
 */
export function makeDebian(root: string): void {
  const words = [
    '--quiet',
    '--variant=essential',
    `--include=${PACKAGES}`,
    UNSAFE,
    ...LEFT_OUT,
    'trixie',
    root,
  ];
  execFileSync('mmdebstrap', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface Ran {
  readonly code: number;
  readonly output: string;
}

export interface Machine extends AsyncDisposable {
  /** The network namespace that it is in. */
  readonly namespace: string;
  /** Runs a command line as root in it; gives both streams. */
  readonly run: (shell: string) => Promise<Ran>;
}

/** Boots a machine from `root`, which stays as it is; it sees the directory `shared` at /srv, and these devices. */
export async function bootMachine(
  name: string,
  root: string,
  shared: string,
  devices: readonly string[],
): Promise<Machine> {
  removeLeftovers();
  const namespace = namespaceName(name);
  configure(undefined, [`netns add ${namespace}`]);
  configure(namespace, [
    'link set lo up',
    ...['169.254.169.254', '10.80.0.10'].map((address) => `address add ${address}/32 dev lo`),
  ]);
  const container = startDaemon('systemd-nspawn', [
    '--quiet',
    '--boot',
    '--register=no',
    '--keep-unit',
    '--console=pipe',
    '--volatile=overlay',
    '--capability=CAP_NET_ADMIN',
    `--network-namespace-path=/run/netns/${namespace}`,
    `--machine=${namespace.slice(0, 60)}`,
    `--directory=${root}`,
    `--bind-ro=${shared}:/srv`,
    ...devices.map((device) => `--bind=${device}`),
  ]);
  const first = await eventually('the first process of the machine', () => firstProcessOf(container));
  const run = (shell: string): Promise<Ran> => runIn(first, shell);
  const booted = async (): Promise<true | undefined> =>
    /running|degraded/.test((await run('systemctl is-system-running --wait')).output) ? true : undefined;
  await eventually('the machine to be up', booted, BOOT_WITHIN_MS);
  return {
    namespace,
    run,
    [Symbol.asyncDispose]: async () => {
      // The kernel ends the others with the first.
      process.kill(first, 'SIGKILL');
      await container[Symbol.asyncDispose]();
      removeNamespace(namespace);
    },
  };
}

function firstProcessOf({ pid, output }: Daemon): number | undefined {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch {
      throw new Error(`the machine ended: ${output()}`);
    }
  };
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean);
  return children.map(Number).find((child) => read(`/proc/${child}/comm`) === 'systemd');
}

function runIn(first: number, shell: string): Promise<Ran> {
  const words = ['-t', String(first), '-m', '-u', '-i', '-n', '-p', '/bin/sh', '-c', shell];
  const options = { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, timeout: 300_000, maxBuffer: 16 << 20 };
  return new Promise((resolve) => {
    execFile('nsenter', words, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr });
    });
  });
}
