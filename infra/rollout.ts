/**
 * The gate of a rollout where the provider has none (Hetzner): a new relay is looked at before the next machine is
 * touched, and old ones go only after all new ones were seen.
 *
 * It looks from where `pulumi up` runs, through the one port that is open: `GET /readyz` on 443 of the machine's own
 * address. A relay is good when it is ready, or when all it lacks is a manifest in which it finds its site, as at the
 * first deployment. One that is not ready for another reason is not: a site of such relays would serve nobody.
 */
import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { all, type Output, ResourceHook, runtime } from '@pulumi/pulumi';

const ASK_EVERY_MS = 3000;
const ASK_TIMEOUT_MS = 5000;
const BODY_CHARS_MAX = 4096;

/** The gate for the relays of one site; absent where nobody shall look: in a preview, or with a timeout of 0. */
export interface Gate {
  /** For `hooks.afterCreate` of a server: when it fails, the engine starts nothing new and deletes nothing. */
  readonly afterCreate: ResourceHook;
  /**
   * The server's id, once its relay is good. A hook sees only what this run creates; without this, running `pulumi up`
   * again after a failed gate would find nothing to create, go on, and delete the old machines.
   */
  readonly passed: (id: Output<string>, address: Output<string>) => Output<string>;
}

/** Makes the gate of a site. `timeoutS` is for each relay, from its creation to its first good answer. */
export function createGate(site: string, timeoutS: number): Gate | undefined {
  if (timeoutS === 0 || runtime.isDryRun()) return undefined;
  const look = (address: string): Promise<void> => waitUntilGood(address, timeoutS * 1000);
  return {
    afterCreate: new ResourceHook(`${site}-relay-is-good`, ({ newOutputs }) =>
      look(String(newOutputs?.['ipv4Address'])),
    ),
    passed: (id, address) => all([id, address]).apply(([known, at]) => look(at).then(() => known)),
  };
}

/** Rejects with a sentence for the operator when nothing good was heard from `host` (or `host:port`) in time. */
export async function waitUntilGood(host: string, timeoutMs: number): Promise<void> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const heard = await ask(host, Math.min(ASK_TIMEOUT_MS, timeoutMs));
    if (heard === 'good') return;
    const restMs = until - Date.now();
    if (restMs <= 0) {
      throw new Error(
        `The relay at ${host} was not good within ${timeoutMs / 1000} s (${heard}). Nothing was deleted, and the relays ` +
          'that were there still serve. Run pulumi up again to look longer, give the release that worked before, or, to ' +
          "go on without looking, run pulumi config set --path 'archipelago:rolloutTimeout' 0",
      );
    }
    await sleep(Math.min(ASK_EVERY_MS, restMs));
  }
}

/** `good`, or what was heard instead. */
function ask(host: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve) => {
    const asked = request(
      `https://${host}/readyz`,
      // Who answers on this new address is not the question, and nothing secret is sent; the certificate is for the
      // name of the fleet, or not there yet.
      { rejectUnauthorized: false, agent: false, signal: AbortSignal.timeout(timeoutMs) },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          if (body.length < BODY_CHARS_MAX) body += chunk;
        });
        response.once('end', () => resolve(judge(response.statusCode ?? 0, body)));
        response.once('error', (error) => resolve(error.message));
      },
    );
    asked.once('error', (error) => resolve(error.message));
    asked.end();
  });
}

/** What an answer of /readyz means: docs/protocol.md. A relay that waits says why: docs/configuration.md. */
function judge(status: number, body: string): string {
  const waits = status === 503 && /\b(no_manifest|not_in_manifest|no_secrets)\b/.test(body);
  return status === 200 || waits ? 'good' : `/readyz answered ${status}`;
}
