/**
 * A site at Google Cloud. Sections: addresses.
 */
import { Provider } from '@pulumi/gcp';
import { Address } from '@pulumi/gcp/compute/index.js';
import { labelsOf, type Site, type SiteOptions, type SiteSpec } from '../site.ts';

/** Declares the resources of one site at Google Cloud. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const labels = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`, { region: spec.location });

  // Addresses: known to the registrar and to every client, so they outlive whatever uses them.
  const address = (role: string): Address =>
    new Address(
      `${spec.name}-${role}`,
      { region: spec.location, addressType: 'EXTERNAL', networkTier: 'PREMIUM', labels },
      { provider, protect: options.isProtected },
    );
  const relay = address('relay');
  const nameserver = address('nameserver');
  return { relay: { ipv4: relay.address }, nameserver: { ipv4: nameserver.address } };
}
