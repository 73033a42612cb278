/**
 * The catalogue: every fault that a drill can cause, and what each needs of this machine.
 */
import { whyNoNamespaces } from '../../local/namespaces.ts';
import type { StoreKind } from '../../local/site.ts';
import { CLOCK_FAULTS, type ClockFault, faketimeLibrary } from './clock.ts';
import type { Fault, Need } from './fault.ts';
import { LOAD_FAULTS, type LoadFault } from './load.ts';
import { NETWORK_FAULTS, type NetworkFault } from './network.ts';
import { PROCESS_FAULTS, type ProcessFault } from './processes.ts';
import { REDIS_FAULTS, type RedisFault } from './redis.ts';

export type FaultName = ProcessFault | RedisFault | NetworkFault | ClockFault | LoadFault;

const CATALOGUE: Readonly<Record<FaultName, Fault>> = {
  ...PROCESS_FAULTS,
  ...REDIS_FAULTS,
  ...NETWORK_FAULTS,
  ...CLOCK_FAULTS,
  ...LOAD_FAULTS,
};

export const FAULT_NAMES: readonly FaultName[] = Object.keys(CATALOGUE) as FaultName[];

/** The entry of the catalogue. */
export function faultNamed(name: FaultName): Fault {
  return CATALOGUE[name];
}

/** '' when this machine can cause the fault in a fleet with this store; otherwise why not, as sentences. */
export function whyImpossible(name: FaultName, store: StoreKind): string {
  return faultNamed(name)
    .needs.map((need) => whyMissing(need, store))
    .filter((why) => why !== '')
    .join(' ');
}

function whyMissing(need: Need, store: StoreKind): string {
  switch (need) {
    case 'redis':
      return store === 'redis' ? '' : 'It happens to a Redis: use --store redis.';
    case 'namespaces':
      return whyNoNamespaces();
    case 'faketime':
      return faketimeLibrary() === undefined ? 'It needs libfaketime: install the package faketime.' : '';
  }
}
