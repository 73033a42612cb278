/**
 * How a relay hears of newer manifests: it asks the vantage of its own site every few seconds, and another one now and
 * then, so that no single vantage can keep it in the past.
 */
import type { Manifest, SiteName } from '../fleet/manifest/manifest.ts';
import { vantagesOf } from '../fleet/manifest/manifest.ts';
import type { Clock } from '../system/clock.ts';
import { describeError, type Log } from '../system/log.ts';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';
import type { Endpoint } from '../system/settings.ts';
import { type Answer, askForManifest } from './adapters/manifest-from-vantage.ts';

export interface FollowManifestOptions {
  readonly own: SiteName;
  /** Whom to ask first, from the boot configuration. */
  readonly from: readonly Endpoint[];
  readonly identity: PinnedIdentity;
  /** The manifest that is held, if any. */
  readonly held: () => Manifest | undefined;
  /** Sites that lack copies, which is told to whoever is asked. */
  readonly lacking: () => readonly SiteName[];
  readonly take: (signed: string) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Between two rounds, a fifth more or less, milliseconds; and while there is no manifest. */
const EVERY_MS = 5000;
const EVERY_WITHOUT_MS = 1000;
/** In every such round one of the other vantages is asked too. */
const FAR_EVERY = 6;

/** Asks until `stopped`; never rejects before. */
export async function followManifest(options: FollowManifestOptions, stopped: AbortSignal): Promise<void> {
  const { clock, random } = options;
  const relay = Buffer.from(random.bytes(12)).toString('base64url');
  let tag: string | undefined;
  /** True when the vantage answered. */
  const ask = async (endpoint: Endpoint): Promise<boolean> => {
    const version = options.held()?.version ?? 0;
    let answer: Answer;
    try {
      const lacking = options.lacking();
      answer = await askForManifest(endpoint, { identity: options.identity, relay, version, lacking, tag });
    } catch (error) {
      options.log.debug('no manifest', { from: endpoint.host, reason: describeError(error) });
      return false;
    }
    if (answer.is === 'another') {
      // Also of a refused one: it is not fetched again and again.
      tag = answer.tag;
      await options.take(answer.signed);
    }
    return answer.is !== 'none';
  };
  for (let round = 1; !stopped.aborted; round += 1) {
    const { near, far } = sourcesOf(options);
    const hasAnswered = await firstThatAnswers(near, ask, stopped);
    if (!hasAnswered) await firstThatAnswers(far, ask, stopped);
    else if (round % FAR_EVERY === 0) {
      const other = far[Math.floor(round / FAR_EVERY) % far.length];
      if (other !== undefined) await ask(other);
    }
    const everyMs = options.held() === undefined ? EVERY_WITHOUT_MS : EVERY_MS;
    await clock.sleep(everyMs * (0.8 + 0.4 * random.fraction()), stopped).catch(() => undefined);
  }
}

async function firstThatAnswers(
  endpoints: readonly Endpoint[],
  ask: (endpoint: Endpoint) => Promise<boolean>,
  stopped: AbortSignal,
): Promise<boolean> {
  for (const endpoint of endpoints) {
    if (stopped.aborted || (await ask(endpoint))) return true;
  }
  return false;
}

/** The own site's vantage, and all others. */
function sourcesOf({ from, held, own }: FollowManifestOptions): {
  readonly near: readonly Endpoint[];
  readonly far: readonly Endpoint[];
} {
  const manifest = held();
  const endpoints = (manifest === undefined ? [] : vantagesOf(manifest)).flatMap(({ name, vantage }) =>
    [vantage.ipv4, vantage.ipv6]
      .filter((host) => host !== null)
      .map((host) => ({ isOwn: name === own, endpoint: { host, port: vantage.votePort } })),
  );
  const pick = (isOwn: boolean): readonly Endpoint[] =>
    endpoints.filter((one) => one.isOwn === isOwn).map(({ endpoint }) => endpoint);
  // The boot configuration may be old: what the manifest says of the own site comes first.
  return { near: [...pick(true), ...from], far: pick(false) };
}
