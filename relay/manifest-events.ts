/**
 * What is worth telling of the manifest: which version holds, what was refused, and that a relay waits for one.
 */
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { MANIFEST_REFUSALS, type RefusedManifest } from './manifest-keeper.ts';

/**
 * Why a relay does not serve at all: no manifest has come yet, the one that holds does not have this site, or there are
 * no secrets, neither sealed in it nor in a file.
 */
export type Waiting = 'no_manifest' | 'not_in_manifest' | 'no_secrets';

export interface ManifestEvents {
  adopted(version: number): void;
  refused(refused: RefusedManifest): void;
  /** Told again and again while it lasts. */
  waiting(reason: Waiting): void;
  unwritable(): void;
}

/** Registers the metrics, all at zero. */
export function createManifestEvents(metrics: Metrics, log: Log): ManifestEvents {
  const refused = metrics.counter(
    'manifests_refused_total',
    'Manifests that arrived and were not adopted',
    'reason',
    MANIFEST_REFUSALS,
  );
  const unwritable = metrics.counter('manifest_file_total', 'Trouble with the kept manifest', 'event', [
    'unwritable',
  ]);
  let version = 0;
  metrics.value('manifest_version', 'Version of the manifest in force; 0 while there is none', () => version);
  return {
    adopted: (adopted) => {
      version = adopted;
      log.info('manifest', { version });
    },
    refused: ({ reason, detail }) => {
      refused.add(reason);
      log.error('manifest refused', { reason, detail });
    },
    waiting: (reason) => log.warn('waiting', { reason }),
    unwritable: () => {
      unwritable.add('unwritable');
      log.error('the manifest cannot be kept on disk');
    },
  };
}
