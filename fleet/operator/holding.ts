/**
 * Who holds which version of the manifest: every nameserver, and of every site the relay that is furthest behind, as
 * its own nameserver tells.
 */
import type { WholeStatus } from '../../healthcheck/status.ts';
import type { Clock } from '../../system/clock.ts';
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { askNameserver, type Nameserver } from './nameservers.ts';

const STATUS_PATH = '/v1/status';
const EVERY_MS = 500;

/** Undefined: there was no answer that says it. */
interface Holding {
  readonly nameserver: string;
  readonly version: number | undefined;
  readonly relayVersionMin: number | undefined;
}

/** Asks everybody at once. Without an identity relays stay unknown. Never rejects. */
async function holdings(
  nameservers: readonly Nameserver[],
  identity: PinnedIdentity | undefined,
): Promise<readonly Holding[]> {
  return await Promise.all(
    nameservers.map(async (to) => {
      const status = identity === undefined ? undefined : await statusAt(to, identity);
      return {
        nameserver: to.name,
        version: status?.manifestVersion ?? (await versionAt(to)),
        relayVersionMin: status?.relays.manifestVersionMin ?? undefined,
      };
    }),
  );
}

/** The status of a nameserver, asked with the key of somebody on call; undefined when there is none. */
export async function statusAt(to: Nameserver, identity: PinnedIdentity): Promise<WholeStatus | undefined> {
  const reply = await askNameserver(to, { method: 'GET', path: STATUS_PATH, identity });
  return reply.ok && reply.value.status === 200 ? statusIn(reply.value.body) : undefined;
}

/** The status in a reply; undefined when it is something else, as of another service at that place. */
export function statusIn(body: string): WholeStatus | undefined {
  try {
    const value = JSON.parse(body) as Partial<WholeStatus> | null;
    return typeof value?.site === 'string' && Array.isArray(value.sites) ? (value as WholeStatus) : undefined;
  } catch {
    return undefined;
  }
}

async function versionAt(to: Nameserver): Promise<number | undefined> {
  const reply = await askNameserver(to, { method: 'GET', path: '/v1/manifest' });
  if (!reply.ok || reply.value.status !== 200) return undefined;
  try {
    const { manifest } = JSON.parse(reply.value.body) as { manifest: string };
    const payload = Buffer.from(manifest.split('.')[1] ?? '', 'base64url').toString('utf8');
    return (JSON.parse(payload) as { version: number }).version;
  } catch {
    return undefined;
  }
}

/** Who does not hold `version` yet: names, with what they hold. */
function behind(held: readonly Holding[], version: number): readonly string[] {
  return held.flatMap(({ nameserver, version: own, relayVersionMin }) => {
    if (own === undefined) return [];
    if (own < version) return [`${nameserver} has version ${own}`];
    return relayVersionMin !== undefined && relayVersionMin < version
      ? [`a relay of ${nameserver} has version ${relayVersionMin}`]
      : [];
  });
}

/**
 * Waits until all that answer hold `version`, at most `withinMs` milliseconds. Gives who does not at the end; empty:
 * all do.
 */
export async function untilHeld(
  version: number,
  nameservers: readonly Nameserver[],
  { identity, clock, withinMs }: { identity: PinnedIdentity | undefined; clock: Clock; withinMs: number },
): Promise<readonly string[]> {
  const deadlineMs = clock.monotonicMs() + withinMs;
  for (;;) {
    const late = behind(await holdings(nameservers, identity), version);
    if (late.length === 0 || clock.monotonicMs() >= deadlineMs) return late;
    await clock.sleep(EVERY_MS);
  }
}
