/**
 * The Pulumi program, as a table of contents: read the configuration, bring up the stack's sites, give their
 * addresses as outputs. Only the SDKs of the providers that the stack names are imported, so that another
 * provider's outage or missing credentials cannot block it.
 */
import { Config, RunError, runtime } from '@pulumi/pulumi';
import { givenConfig, parseConfig } from './config.ts';
import type { Site, SiteModule } from './site.ts';

const config = new Config('archipelago');
// The SDK has this, but no type for it.
const { isConfigSecret } = runtime as unknown as { isConfigSecret: (name: string) => boolean };
// Secrets are read in clear to be checked; every place that they go to is marked secret again.
const parsed = parseConfig(givenConfig((name) => config.get(name), isConfigSecret('archipelago:secrets')));
if (!parsed.ok) {
  throw new RunError(
    `This stack's configuration has faults:\n${parsed.fault.map((fault) => `  ${fault}`).join('\n')}`,
  );
}
const { sites: specs, secrets, ...shared } = parsed.value;

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
  sites[spec.name] = module.createSite(spec, { ...shared, secrets: files });
}
