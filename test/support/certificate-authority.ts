/**
 * An authority for a deployment, as there is one in the world: Pebble, which asks a validating unbound, which asks the
 * nameservers that the registrar was told of, whichever it likes.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unboundConfiguration } from '../../fleet/drill/unbound.ts';
import { encodeQuery, TYPE } from '../../healthcheck/dns/message.ts';
import type { Deployment } from './deployment.ts';
import { type DnsServerAddress, sendUdp } from './dns-client.ts';
import { eventually } from './eventually.ts';
import { type Pebble, startPebble } from './pebble.ts';
import { type Daemon, startDaemon } from './programs.ts';

/** What `suiteWith` has to look for. */
export const AUTHORITY_PROGRAMS: readonly string[] = ['pebble', 'unbound'];

export interface TestAuthority extends AsyncDisposable {
  readonly pebble: Pebble;
  readonly resolver: DnsServerAddress;
  /** PEM; the root under which it issues, as of its first start. */
  readonly rootPem: string;
  /** Settings of a vantage whose site is to have its certificates. */
  readonly vantageSettings: Readonly<Record<string, string>>;
  /** The registrar takes what `fleet delegation` printed; before that, nobody finds the zone. */
  delegate(printed: string): Promise<void>;
}

/** Starts the authority. Its certificates live for `validitySeconds`. */
export async function startAuthority(fleet: Deployment, validitySeconds: number): Promise<TestAuthority> {
  const directory = mkdtempSync(join(tmpdir(), 'authority-'));
  const { resolver } = fleet;
  const dnsServer = `${resolver.address}:${resolver.port}`;
  const pebble = await startPebble({ directory, dnsServer, validitySeconds });
  const rootPem = await pebble.root();
  // The probes of the vantages are clients too.
  writeFileSync(join(directory, 'root.pem'), rootPem);
  let unbound: Daemon | undefined;
  return {
    pebble,
    resolver,
    rootPem,
    vantageSettings: {
      VANTAGE_CA: join(directory, 'root.pem'),
      VANTAGE_ACME_DIRECTORY: pebble.directoryUrl,
      VANTAGE_ACME_CA: pebble.caPath,
      VANTAGE_ACME_CONTACT: 'mailto:ops@example.com',
    },
    delegate: async (printed) => {
      await unbound?.[Symbol.asyncDispose]();
      const configuration = join(directory, 'unbound.conf');
      writeFileSync(configuration, configurationOf(fleet, directory, printed));
      unbound = startDaemon('unbound', ['-d', '-c', configuration]);
      const question = encodeQuery(0x1234, 'localhost', TYPE.A);
      await eventually('unbound answers', async () => await sendUdp(resolver, question, 200));
    },
    [Symbol.asyncDispose]: async () => {
      await unbound?.[Symbol.asyncDispose]();
      await pebble[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A resolver that knows the parent zone only as far as these records of it. */
function configurationOf({ resolver, zone, ports }: Deployment, directory: string, printed: string): string {
  const lines = printed.split('\n');
  return unboundConfiguration({
    directory,
    at: resolver,
    zone,
    nameservers: lines
      .flatMap((line) => / IN A (\S+)$/.exec(line)?.[1] ?? [])
      .map((address) => ({ address, port: ports.dns })),
    dsRecords: lines.filter((line) => line.includes(' IN DS ')),
  });
}
