/**
 * Asks a vantage for the manifest: `GET /v1/manifest` (docs/manifest.md). The document carries its own signature, so the
 * vantage need not prove who it is; this relay shows its peer key, so that the vantage can believe what it says of itself.
 */

import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import { SIGNED_MANIFEST_BYTES_MAX } from '../../fleet/manifest/signed.ts';
import { readBounded } from '../../system/bounded-body.ts';
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import type { Endpoint } from '../../system/settings.ts';

/** `same`: what the tag names is the newest there. `none`: the vantage waits for one itself. */
export type Answer =
  | { readonly is: 'same' }
  | { readonly is: 'none' }
  | { readonly is: 'another'; readonly signed: string; readonly tag: string };

export interface Asking {
  readonly identity: PinnedIdentity;
  /** A name of this process's own. */
  readonly relay: string;
  /** The version that this relay holds, 0 for none. */
  readonly version: number;
  /** Sites that lack copies, as far as this relay knows. */
  readonly lacking: readonly SiteName[];
  /** The entity tag of what was handed out last. */
  readonly tag: string | undefined;
}

/** Connection, request and response together. */
const DEADLINE_MS = 3000;
/** Manifest and overrides as JSON. */
const BODY_BYTES_MAX: number = SIGNED_MANIFEST_BYTES_MAX + 65_536;

/** Rejects when there is no whole answer in time. */
export async function askForManifest(
  { host, port }: Endpoint,
  { identity, relay, version, lacking, tag }: Asking,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = {
    'archipelago-relay': relay,
    'archipelago-manifest-version': String(version),
    ...(lacking.length === 0 ? {} : { 'archipelago-lacking': lacking.join() }),
    ...(tag === undefined ? {} : { 'if-none-match': tag }),
  };
  request({
    host,
    port,
    path: '/v1/manifest',
    headers,
    cert: identity.certificatePem,
    key: identity.keyPem,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    agent: false,
    signal: AbortSignal.timeout(DEADLINE_MS),
  })
    .once('response', resolve)
    .on('error', reject)
    .end();
  const response = await promise;
  const body = (await readBounded(response, BODY_BYTES_MAX)).toString('latin1');
  if (response.statusCode === 304) return { is: 'same' };
  if (response.statusCode === 404) return { is: 'none' };
  const { manifest } = JSON.parse(body) as Record<string, unknown>;
  if (response.statusCode !== 200 || typeof manifest !== 'string') {
    throw new Error(`the vantage answered ${response.statusCode ?? 'nothing'}`);
  }
  return { is: 'another', signed: manifest, tag: response.headers.etag ?? '' };
}
