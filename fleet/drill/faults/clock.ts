/**
 * Faults of the wall clock. libfaketime is loaded into the programs of the site from the start and reads how far off
 * their clock is from a file; the monotonic clock stays true.
 */
import { globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PartSettings } from '../../local/site.ts';
import { type Fault, type Scene, SITE_LOST } from './fault.ts';

const SKEW_SECONDS = 3600;
const CACHE_SECONDS = 1;
const LIBRARIES = '/usr/lib/{,*/}faketime/libfaketimeMT.so.1';

/** Where libfaketime is; undefined: not installed. */
export function faketimeLibrary(): string | undefined {
  return globSync(LIBRARIES)[0];
}

export type ClockFault = 'skew';

export const CLOCK_FAULTS: Readonly<Record<ClockFault, Fault>> = {
  skew: {
    what: 'has a wall clock that jumps an hour ahead, and later back',
    needs: ['faketime'],
    seconds: 25,
    expects: { ...SITE_LOST, withdrawnAt: 'all', noticed: false },
    settings: fakeTime,
    inject: async ({ fleet, site }: Scene) => {
      const file = clockFile(fleet.directory, site.layout.name);
      writeFileSync(file, `+${SKEW_SECONDS}\n`);
      return await Promise.resolve({
        done: `wall clock ${SKEW_SECONDS} s ahead`,
        isEffective: () => true,
        heal: async () => await Promise.resolve(writeFileSync(file, '+0\n')),
      });
    },
  },
};

function fakeTime(...[site, part, directory]: Parameters<PartSettings>): Readonly<Record<string, string>> {
  const library = faketimeLibrary();
  // Redis brings an allocator of its own that libfaketime does not start with, and its clock expires nothing.
  if (part === 'redis' || library === undefined) return {};
  const file = clockFile(directory, site);
  writeFileSync(file, '+0\n');
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: String(CACHE_SECONDS),
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}

function clockFile(directory: string, site: string): string {
  return join(directory, `${site}-clock`);
}
