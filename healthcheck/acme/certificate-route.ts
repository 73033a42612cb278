/**
 * `GET /v1/certificate`: the relays of the own site, and nobody else, fetch their certificate and its key here, over
 * the connection on which they proved the key that the manifest pins.
 */
import { createHash } from 'node:crypto';
import type { SiteName } from '../../fleet/manifest/manifest.ts';
import type { CertificatePair } from '../../system/server-certificate.ts';
import { type FleetReply, type FleetRequest, problem, type Route } from '../adapters/fleet-port.ts';

const CERTIFICATE_PATH = '/v1/certificate';

/** 200 with `{"chainPem", "keyPem"}` and an entity tag; 304; 403 for another site's relay; 404 while there is none. */
export function certificateRoute(site: SiteName, current: () => CertificatePair | undefined): Route {
  return {
    method: 'GET',
    path: CERTIFICATE_PATH,
    callers: ['relay'],
    answer: ({ caller, headers }: FleetRequest): FleetReply => {
      if (caller.name !== site) return problem(403, 'another_site', `these are the keys of ${site}`);
      const pair = current();
      if (pair === undefined) return problem(404, 'no_certificate', 'this vantage has no certificate yet');
      const { chainPem, keyPem } = pair;
      const etag = `"${createHash('sha256').update(chainPem).digest('base64url')}"`;
      if (headers['if-none-match'] === etag) return { status: 304, headers: { etag } };
      return {
        status: 200,
        headers: { 'content-type': 'application/json', 'cache-control': 'no-store', etag },
        body: JSON.stringify({ chainPem, keyPem } satisfies CertificatePair),
      };
    },
  };
}
