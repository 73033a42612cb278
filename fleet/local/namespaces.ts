/**
 * Network namespaces of this machine, by names that say whose they are: `arch-PID-START-PLACE`, the process that made
 * them with its start time. So the next one can tell what a dead one left behind, and takes nothing from a living one.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { startOf } from './process-identity.ts';

const NAMESPACES = '/run/netns';
const OWNED = /^arch-(\d+)-(\d+)-/;

/** The name of this process's namespace for `place`. */
export function namespaceName(place: string): string {
  return `arch-${process.pid}-${startOf(process.pid)}-${place}`;
}

/** Runs `ip -batch` in a namespace, or outside all of them. Throws with what `ip` says. */
export function configure(namespace: string | undefined, lines: readonly string[]): void {
  const where = namespace === undefined ? [] : ['-n', namespace];
  execFileSync('ip', [...where, '-batch', '-'], {
    input: lines.join('\n'),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}

/** Removes a namespace with every interface in it, and so the other ends of its pairs; not to have it is no fault. */
export function removeNamespace(namespace: string): void {
  spawnSync('ip', ['netns', 'delete', namespace], { stdio: 'ignore' });
}

/** Removes the namespaces of processes that no longer live. */
export function removeLeftovers(): void {
  for (const [name, pid, start] of ownedNamespaces()) {
    if (startOf(pid) !== start) removeNamespace(name);
  }
}

/** '' when this process may make namespaces and filter packets in them, otherwise why not, as a sentence. */
export function whyNoNamespaces(): string {
  if (process.platform !== 'linux') return 'Network namespaces are a feature of Linux.';
  if (process.getuid?.() !== 0) return 'Only root may make network namespaces.';
  for (const [tool, flag] of [
    ['ip', '-V'],
    ['nft', '-v'],
  ] as const) {
    if (spawnSync(tool, [flag], { stdio: 'ignore' }).status !== 0) {
      return `There is no ${tool} on the PATH; install iproute2 and nftables.`;
    }
  }
  const trial = namespaceName('trial');
  try {
    execFileSync('ip', ['netns', 'add', trial], { stdio: 'pipe' });
    const filter = 'add table bridge trial';
    execFileSync('ip', ['netns', 'exec', trial, 'nft', filter], { stdio: 'pipe' });
    return '';
  } catch {
    return 'This machine lets nobody make network namespaces, or filter the packets of a bridge, here.';
  } finally {
    removeNamespace(trial);
  }
}

function ownedNamespaces(): readonly (readonly [name: string, pid: number, start: string])[] {
  let names: readonly string[];
  try {
    names = readdirSync(NAMESPACES);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const [, pid, start] = OWNED.exec(name) ?? [];
    return pid === undefined || start === undefined ? [] : [[name, Number(pid), start] as const];
  });
}
