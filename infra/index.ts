/**
 * The Pulumi program, as a table of contents: read the configuration, bring up the stack's sites, give their
 * addresses as outputs. Only the SDKs of the providers that the stack names are imported, so that another
 * provider's outage or missing credentials cannot block it.
 */
import { Config } from '@pulumi/pulumi';
import { parseConfig } from './config.ts';
import type { Site, SiteModule } from './site.ts';

const config = new Config('archipelago');
const parsed = parseConfig({
  sites: config.getObject('sites'),
  release: config.getObject('release'),
  manifestKey: config.get('manifestKey'),
  manifestVersionMin: config.get('manifestVersionMin'),
  // Read in clear to be checked; every place that it goes to is marked secret again.
  secrets: config.getObject('secrets'),
});
if (!parsed.ok) {
  throw new Error(`This stack's configuration has faults:\n${parsed.fault.map((f) => `  ${f}`).join('\n')}`);
}
const { sites: specs, secrets, ...shared } = parsed.value;
const isProtected = config.getBoolean('protect') ?? true;

const modules: Readonly<Record<string, () => Promise<SiteModule>>> = {
  aws: () => import('./sites/aws.ts'),
  gcp: () => import('./sites/gcp.ts'),
  hetzner: () => import('./sites/hetzner.ts'),
};

/** Addresses of each site, for the manifest and the delegation. */
export const sites: Record<string, Site> = {};
for (const spec of specs) {
  const module = await modules[spec.provider]?.();
  const files = secrets[spec.name];
  if (module === undefined || files === undefined) continue;
  sites[spec.name] = module.createSite(spec, { ...shared, isProtected, secrets: files });
}
