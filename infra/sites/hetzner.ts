/**
 * A site at Hetzner. Sections: addresses.
 */
import { PrimaryIp, Provider } from '@pulumi/hcloud';
import { labelsOf, type Site, type SiteOptions, type SiteSpec } from '../site.ts';

/** Declares the resources of one site at Hetzner Cloud. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const labels = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`);

  // Addresses: known to the registrar and to every client, so they outlive whatever uses them.
  const address = (role: string): PrimaryIp =>
    new PrimaryIp(
      `${spec.name}-${role}`,
      {
        type: 'ipv4',
        location: spec.location,
        assigneeType: 'server',
        autoDelete: false,
        deleteProtection: options.isProtected,
        labels,
      },
      { provider, protect: options.isProtected },
    );
  const relay = address('relay');
  const nameserver = address('nameserver');
  return { relay: { ipv4: relay.ipAddress }, nameserver: { ipv4: nameserver.ipAddress } };
}
