/**
 * `npm start`: a fleet on this machine until Ctrl-C, with a demonstration mailbox whose messages are printed as they
 * arrive, and the commands to send to it by hand.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encrypt } from '../client/encryption.ts';
import { createMailbox, type Mailbox } from '../client/mailbox.ts';
import { createNodeTransport, type NodeTransport } from '../client/node-transport.ts';
import { createSubscription } from '../client/push-url.ts';
import { createReceiver } from '../client/receiver.ts';
import { systemClock } from '../system/clock.ts';
import { systemRandom } from '../system/random.ts';
import { createFleet, FleetUnavailable, type LocalFleet } from './local/fleet.ts';
import type { StoreKind } from './local/site.ts';
import { canonicalOrigin, siteOrigin } from './manifest/manifest.ts';

export interface StartOptions {
  readonly store: StoreKind;
  readonly port: number | undefined;
  readonly release: string | undefined;
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
}

const TIMEOUT_MS = 5000;
const BODY_BYTES_MAX = 4096;
const WRONG_USAGE = 64;
const FAILED = 1;

/** Runs until the signal aborts. Gives the exit code: 0 when it was stopped, 1 when a process of the fleet failed. */
export async function runUntilInterrupted(options: StartOptions): Promise<number> {
  const { complain, print } = options;
  const failing = new AbortController();
  const signal = AbortSignal.any([options.signal, failing.signal]);
  let fleet: LocalFleet | undefined;
  try {
    fleet = await createFleet({
      store: options.store,
      relayPort: options.port,
      release: options.release,
      programs: {},
      clock: systemClock,
      random: systemRandom,
      onUnexpectedEnd: (what) => failing.abort(new Error(what)),
      onVantageLine: () => undefined,
    });
    print(`Starting three sites in ${fleet.directory} …`);
    await fleet.start(signal);
    await demonstrate(fleet, signal, print);
    return failing.signal.aborted ? FAILED : 0;
  } catch (error) {
    if (options.signal.aborted) return 0;
    complain(failing.signal.aborted ? describeReason(failing.signal.reason) : describeReason(error));
    return error instanceof FleetUnavailable ? WRONG_USAGE : FAILED;
  } finally {
    await fleet?.[Symbol.asyncDispose]();
    print('Everything is stopped and removed.');
  }
}

/** Prints the commands, then what arrives, until the signal aborts. */
async function demonstrate(
  fleet: LocalFleet,
  signal: AbortSignal,
  print: StartOptions['print'],
): Promise<void> {
  const { manifest } = fleet.identities;
  const transport = siteTransport(fleet);
  try {
    const mailbox = await createMailbox(systemRandom);
    print(await instructions(fleet, mailbox, transport));
    const sites = manifest.sites.map(({ name, provider }) => ({
      origin: siteOrigin(manifest, name),
      provider,
    }));
    const receiver = createReceiver({
      transport,
      clock: systemClock,
      random: systemRandom,
      fleet: { canonicalOrigin: canonicalOrigin(manifest), sites },
      mailboxes: [mailbox],
    });
    for await (const message of receiver.messages(signal)) {
      print(`received: ${printable(message.content)}`);
    }
    signal.throwIfAborted();
  } finally {
    transport.close();
  }
}

async function instructions(fleet: LocalFleet, mailbox: Mailbox, transport: NodeTransport): Promise<string> {
  const { manifest, files } = fleet.identities;
  const [first] = fleet.sites;
  if (first === undefined) return '';
  const { endpoint, keys } = await createSubscription(mailbox, {
    transport,
    clock: systemClock,
    siteOrigin: siteOrigin(manifest, first.layout.name),
    timeoutMs: TIMEOUT_MS,
  });
  const plaintext = Buffer.from('Hello from a message that only its recipient can read.');
  const options = { random: systemRandom, bodyBytesMax: BODY_BYTES_MAX, padding: 'buckets' } as const;
  const body = join(fleet.directory, 'hello.aes128gcm');
  writeFileSync(body, (await encrypt(plaintext, keys, options)).body);
  const { zone, port } = manifest;
  return [
    '',
    ...fleet.sites.map(({ layout }) => {
      const { relayAddress, vantageAddress } = layout;
      return (
        `  ${layout.name.padEnd(8)} relay ${relayAddress}:${port}  nameserver ${vantageAddress}:${fleet.ports.dns}  ` +
        `health http://${relayAddress}:${fleet.ports.private}/readyz  votes http://${vantageAddress}:${fleet.ports.private}/status`
      );
    }),
    '',
    'Ask a nameserver which sites are up:',
    `  dig @${first.layout.vantageAddress} -p ${fleet.ports.dns} ${zone} A +noall +answer`,
    '',
    'Send a message; it is printed here, decrypted, when it arrives:',
    `  curl -i --cacert ${files.authority} --resolve ${zone}:${port}:${first.layout.relayAddress} \\`,
    `    -H 'TTL: 600' -H 'Content-Encoding: aes128gcm' -H "Idempotency-Key: $(date +%s%N)" \\`,
    `    --data-binary @${body} ${endpoint}`,
    '',
    'Be its operator; the commands are in docs/fleet.md:',
    `  npm run fleet -- status --dir ${fleet.identities.operators}`,
    `  npm run fleet -- drain ${first.layout.name} --for 5m --yes --dir ${fleet.identities.operators}`,
    '',
    'Receive by hand: docs/protocol.md, "Receiving". Logs are in the directory above. Ctrl-C stops everything.',
    '',
  ].join('\n');
}

/** Reaches each site by its address in the layout, and the canonical name at the first site. */
function siteTransport(fleet: LocalFleet): NodeTransport {
  const { manifest, authorityPem } = fleet.identities;
  return createNodeTransport({
    clock: systemClock,
    ca: authorityPem,
    connectTimeoutMs: TIMEOUT_MS,
    keepAlive: false,
    lookup: async (name) => {
      const site = fleet.sites.find(({ layout }) => name === `${layout.name}.${manifest.zone}`);
      return await Promise.resolve(site === undefined ? [] : [site.layout.relayAddress]);
    },
  });
}

/** What was received is anybody's: without control characters, so that it cannot take over a terminal. */
function printable(content: Uint8Array): string {
  return Buffer.from(content).toString('utf8').replaceAll(/\p{C}/gu, '·').slice(0, 500);
}

function describeReason(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
