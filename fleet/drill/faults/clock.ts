/**
 * Faults of the wall clock. libfaketime is loaded into the programs of the site from the start and reads how far off
 * their clock is from a file; the monotonic clock stays true.
 */
import { globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalFleet } from '../../local/fleet.ts';
import { askPrivate } from '../../local/private-http.ts';
import type { LocalSite, PartSettings } from '../../local/site.ts';
import { type Fault, type Scene, SITE_LOST } from './fault.ts';

const SKEW_SECONDS = 3600;
const CACHE_SECONDS = 1;
/** Clocks are compared once a second, by what may take a moment. */
const SEEN_WITHIN_SECONDS = 60;
const PATIENCE_MS = 500;
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
        isEffective: async () => await isAhead(fleet, site),
        heal: async () => await Promise.resolve(writeFileSync(file, '+0\n')),
      });
    },
  },
};

/** Whether its relay has seen that the clocks of the others are behind. */
async function isAhead({ ports }: LocalFleet, { layout }: LocalSite): Promise<boolean> {
  try {
    const { body } = await askPrivate(layout.relayAddress, ports.private, '/metrics', PATIENCE_MS);
    const offsetMs = Number(/^relay_clock_offset_milliseconds (\S+)/m.exec(body)?.[1]);
    return offsetMs > (SKEW_SECONDS - SEEN_WITHIN_SECONDS) * 1000;
  } catch {
    // It is asked again.
    return false;
  }
}

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
