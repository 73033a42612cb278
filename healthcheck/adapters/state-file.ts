/**
 * What a vantage remembers across a restart: its last answer, so that it need not begin by handing out a site that
 * is down, and its boot epoch, so that its votes stay newer than those of its former lives.
 *
 * Written whole. What is read back is checked like anything from outside; state that makes no sense is no state.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, ok, type Result } from '../../system/result.ts';
import { writeWhole } from '../../system/whole-file.ts';
import type { Family, TargetKey } from '../core/target.ts';

export interface SavedState {
  readonly bootEpoch: number;
  readonly generation: number;
  readonly targets: readonly TargetKey[];
  readonly failOpen: readonly Family[];
  /** Milliseconds since 1970, as everything here outlives the monotonic clock. */
  readonly lastWithdrawal: { readonly provider: string; readonly atWallMs: number } | null;
  readonly savedAtWallMs: number;
}

export interface StateFile {
  /** Saves soon; of several states that wait, only the newest is written. */
  save(state: SavedState): void;
  /** Resolves when nothing waits any more. */
  settled(): Promise<void>;
}

const NAME = 'vantage-state.json';
const BYTES_MAX = 65_536;

/** The saved state, undefined when there is none yet. */
export async function readState(directory: string): Promise<Result<SavedState | undefined, 'unreadable'>> {
  let content: string;
  try {
    content = await readFile(join(directory, NAME), 'utf8');
  } catch (error) {
    const isFirstStart = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return isFirstStart ? ok(undefined) : fail('unreadable');
  }
  const state = content.length > BYTES_MAX ? undefined : parseState(content);
  return state === undefined ? fail('unreadable') : ok(state);
}

/** Writes once, and rejects when that fails. */
export async function writeState(directory: string, state: SavedState): Promise<void> {
  await writeWhole(join(directory, NAME), JSON.stringify(state));
}

/** `failed` is told of every write that did not succeed; the state is then as old as the last one that did. */
export function createStateFile(directory: string, failed: () => void): StateFile {
  let waiting: SavedState | undefined;
  let writing: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    while (waiting !== undefined) {
      const state = waiting;
      waiting = undefined;
      await writeState(directory, state).catch(failed);
    }
    writing = undefined;
  };
  return {
    save: (state) => {
      waiting = state;
      writing ??= drain();
    },
    settled: async () => writing,
  };
}

function parseState(content: string): SavedState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { bootEpoch, generation, targets, failOpen, lastWithdrawal, savedAtWallMs } = value as Record<
    string,
    unknown
  >;
  if (!isCount(bootEpoch) || !isCount(generation) || !isCount(savedAtWallMs)) return undefined;
  if (!isListOf(targets, isTargetKey) || !isListOf(failOpen, isFamily)) return undefined;
  if (lastWithdrawal === null) {
    return { bootEpoch, generation, targets, failOpen, lastWithdrawal, savedAtWallMs };
  }
  if (typeof lastWithdrawal !== 'object' || lastWithdrawal === undefined) return undefined;
  const { provider, atWallMs } = lastWithdrawal as Record<string, unknown>;
  if (typeof provider !== 'string' || !isCount(atWallMs)) return undefined;
  return { bootEpoch, generation, targets, failOpen, lastWithdrawal: { provider, atWallMs }, savedAtWallMs };
}

function isListOf<Item>(value: unknown, is: (item: unknown) => item is Item): value is readonly Item[] {
  return Array.isArray(value) && value.every(is);
}

function isTargetKey(value: unknown): value is TargetKey {
  return typeof value === 'string' && /^[a-z][a-z0-9-]*\/ipv[46]$/.test(value);
}

function isFamily(value: unknown): value is Family {
  return value === 'ipv4' || value === 'ipv6';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
