/**
 * A site at AWS. Sections: addresses.
 */
import { Provider } from '@pulumi/aws';
import { Eip } from '@pulumi/aws/ec2/index.js';
import { labelsOf, type Site, type SiteOptions, type SiteSpec } from '../site.ts';

/** Declares the resources of one site at AWS. */
export function createSite(spec: SiteSpec, options: SiteOptions): Site {
  const tags = labelsOf(spec);
  const provider = new Provider(`${spec.name}-provider`, { region: spec.location, defaultTags: { tags } });

  // Addresses: known to the registrar and to every client, so they outlive whatever uses them.
  const address = (role: string): Eip =>
    new Eip(
      `${spec.name}-${role}`,
      { domain: 'vpc', tags: { ...tags, Name: `${spec.name}-${role}` } },
      { provider, protect: options.isProtected },
    );
  const relay = address('relay');
  const nameserver = address('nameserver');
  return { relay: { ipv4: relay.publicIp }, nameserver: { ipv4: nameserver.publicIp } };
}
