/**
 * Taking a message back (RFC 8030 §7.2) by the address that the fleet gave when it accepted it. Whoever has the address
 * may, so it goes nowhere but to the fleet that made it.
 */
import type { Clock } from '../system/clock.ts';
import { askAnySite, requireStatus } from './any-site.ts';
import { TransportError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import type { Roster } from './roster.ts';
import { destinationsOf, parseLocation } from './send-request.ts';
import type { RequestLimits, Transport } from './transport.ts';

/** Resolves once one site has deleted it. Throws as `Sender.retract`; `limits` are for each site that is asked. */
export async function retractMessage(
  location: string,
  fleet: Fleet | undefined,
  roster: Roster,
  { transport, clock, limits }: { transport: Transport; clock: Clock; limits: RequestLimits },
): Promise<void> {
  const { origin, path } = parseLocation(location);
  await askAnySite(destinationsOf(origin, fleet, roster.order()), async (site) => {
    try {
      const request = { origin: site.origin, method: 'DELETE', path, headers: {} } as const;
      requireStatus(await transport.request(request, limits), 204, clock.wallMs());
    } catch (error) {
      if (error instanceof TransportError) roster.failed(site, clock.monotonicMs());
      throw error;
    }
  });
}
