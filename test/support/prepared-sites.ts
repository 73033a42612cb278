/**
 * Sites that are laid out and have their keys and a manifest, and of which nothing runs: what tests start their own
 * processes on.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPorts } from '../../fleet/local/free-port.ts';
import { type Identities, makeIdentities } from '../../fleet/local/identities.ts';
import { chooseNetwork, layOut, type Ports, portWishes, type SiteLayout } from '../../fleet/local/layout.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

export interface PreparedSites extends Disposable {
  /** It goes away, with all that is in it, when this is disposed of. */
  readonly directory: string;
  readonly layouts: readonly SiteLayout[];
  readonly ports: Ports;
  readonly identities: Identities;
  /** Throws when there is no site of that name. */
  readonly layoutOf: (site: string) => SiteLayout;
}

/** Addresses and ports that nobody else has, and everything that `makeIdentities` makes. */
export async function prepareSites(names: readonly string[]): Promise<PreparedSites> {
  const directory = mkdtempSync(join(tmpdir(), 'archipelago-test-'));
  const layouts = layOut(chooseNetwork(systemRandom), names);
  const found = await findPorts(portWishes(layouts, undefined));
  if (!found.ok) throw new Error(found.fault);
  const ports = found.value;
  const context = { random: systemRandom, wallMs: systemClock.wallMs() };
  return {
    directory,
    layouts,
    ports,
    identities: await makeIdentities(directory, layouts, ports, context),
    layoutOf: (site) => {
      const layout = layouts.find(({ name }) => name === site);
      if (layout === undefined) throw new Error(`no site ${site}`);
      return layout;
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
