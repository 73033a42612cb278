/**
 * Certificates that the vantage of the own site gets from a certificate authority: `GET /v1/certificate` over mutual
 * TLS with pinned keys. Kept on disk, so that a relay starts with its last one while the vantage is away.
 */

import { type IncomingMessage, request } from 'node:http';
import { readBounded } from '../../system/bounded-body.ts';
import { describeError } from '../../system/log.ts';
import { connectPinned, type PinnedDestination, type PinnedIdentity } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import {
  type CertificatePair,
  keepCertificate,
  parseCertificatePair,
  readKeptCertificate,
} from '../../system/server-certificate.ts';
import type { CertificateSource, LookFailure } from '../certificate.ts';

const CERTIFICATE_PATH = '/v1/certificate';
const EVERY_MS = { without: 2000, with: 60_000 };
/** Connection, request and response together. */
const DEADLINE_MS = 3000;
const BODY_BYTES_MAX = 131_072;

export interface VantageCertificatesOptions {
  /** Where the own site's vantage answers, every address of it. */
  readonly vantage: () => readonly PinnedDestination[];
  readonly identity: PinnedIdentity;
  /** The file in which the last one is kept. */
  readonly path: string;
}

/** What was handed out last, and the entity tag (RFC 9110 §8.8.3) under which. */
interface HandedOut {
  readonly tag: string;
  readonly pair: CertificatePair;
}

/** Begins with what was kept. */
export function certificatesFromVantage(options: VantageCertificatesOptions): CertificateSource {
  let hasLookedAtDisk = false;
  let failures = 0;
  let last: HandedOut | undefined;
  return {
    everyMs: EVERY_MS,
    keep: async (pair) => keepCertificate(options.path, pair),
    look: async (shown) => {
      if (!hasLookedAtDisk) {
        hasLookedAtDisk = true;
        const kept = await readKeptCertificate(options.path);
        if (kept !== undefined) return ok(kept);
      }
      const destinations = options.vantage();
      // A vantage with two addresses is asked at the other one after each failure.
      const destination = destinations[failures % destinations.length];
      if (destination === undefined) {
        return fail({ fault: 'unreachable', detail: 'the manifest lists no vantage of this site' });
      }
      const tag = shown !== undefined && shown.chainPem === last?.pair.chainPem ? last.tag : undefined;
      try {
        const found = await ask(destination, options.identity, tag);
        if (!found.ok) return found;
        last = found.value ?? last;
        return ok(found.value?.pair);
      } catch (error) {
        failures += 1;
        return fail({ fault: 'unreachable', detail: describeError(error) });
      }
    },
  };
}

/** Undefined: still what was handed out under `tag`. Rejects when there is no whole answer in time. */
async function ask(
  destination: PinnedDestination,
  identity: PinnedIdentity,
  tag: string | undefined,
): Promise<Result<HandedOut | undefined, LookFailure>> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const socket = await connectPinned(destination, identity, DEADLINE_MS);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = tag === undefined ? {} : { 'if-none-match': tag };
    request({ createConnection: () => socket, signal, path: CERTIFICATE_PATH, host: 'vantage', headers })
      .once('response', resolve)
      .on('error', reject)
      .end();
    const response = await promise;
    const { statusCode = 0 } = response;
    if (statusCode === 200)
      return read(
        (await readBounded(response, BODY_BYTES_MAX)).toString('utf8'),
        response.headers.etag ?? '',
      );
    if (statusCode === 304) return ok(undefined);
    return statusCode === 404
      ? fail({ fault: 'none_yet', detail: "this site's vantage has no certificate yet" })
      : fail({ fault: 'refused', detail: `this site's vantage answered ${statusCode}` });
  } finally {
    socket.destroy();
  }
}

function read(body: string, tag: string): Result<HandedOut, LookFailure> {
  const pair = parseCertificatePair(body);
  if (pair === undefined) return fail({ fault: 'wrong', detail: 'no certificate in the answer' });
  return ok({ tag, pair });
}
