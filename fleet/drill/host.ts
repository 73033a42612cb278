/**
 * The machine under a drill: a figure without its host is an anecdote.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import { percentile } from './outages.ts';

export interface Host {
  readonly cores: number;
  readonly processor: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** Runnable processes, averaged over the minute before the drill: more than cores means that others were busy. */
  readonly loadBefore: number;
  readonly node: string;
  /** Undefined: not installed. */
  readonly redis: string | undefined;
  /** Writing 4 KiB and making it durable, where the stores of the fleet are. */
  readonly fsyncP50Ms: number;
  readonly fsyncP99Ms: number;
  /** Of the program, when it runs from a git checkout. */
  readonly commit: string | undefined;
}

const FSYNC_ROUNDS = 60;

/**
 * Describes this machine; takes some milliseconds to measure fsync in `directory`. `redis` is its version, if any.
 */
export function describeHost(directory: string, redis: string | undefined, clock: Clock): Host {
  const fsyncMs = measureFsync(directory, clock);
  return {
    cores: cpus().length,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    memoryBytes: totalmem(),
    kernel: `${process.platform} ${release()}`,
    loadBefore: loadavg()[0] ?? 0,
    node: process.versions.node,
    redis,
    fsyncP50Ms: percentile(fsyncMs, 0.5) ?? 0,
    fsyncP99Ms: percentile(fsyncMs, 0.99) ?? 0,
    commit: readCommit(),
  };
}

function measureFsync(directory: string, clock: Clock): readonly number[] {
  const path = join(directory, 'fsync-probe');
  const file = openSync(path, 'w', 0o600);
  const block = Buffer.alloc(4096, 1);
  try {
    return Array.from({ length: FSYNC_ROUNDS }, () => {
      const beganMs = clock.monotonicMs();
      writeSync(file, block);
      fdatasyncSync(file);
      return clock.monotonicMs() - beganMs;
    });
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}

function readCommit(): string | undefined {
  try {
    return git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with changes');
  } catch {
    return undefined;
  }
}

function git(...parameters: readonly string[]): string {
  const output = execFileSync('git', parameters, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return output.trim();
}
