/**
 * What is left to do by hand after a site was dropped: everything that is not in the manifest's power. In the order in
 * which it matters.
 */
import { nameserverName } from '../../healthcheck/core/zone.ts';
import type { Manifest, SiteEntry } from '../manifest/manifest.ts';

/** One thing, and why; `where` is who has to be told. */
export interface Remaining {
  readonly where: 'registrar' | 'certificates' | 'stacks' | 'applications' | 'provider';
  readonly what: string;
}

/** After `gone` was dropped; `after` is the manifest without it, `oldRingKeys` still open push URLs. */
export function remainsOf(
  gone: SiteEntry,
  after: Manifest,
  oldRingKeys: readonly string[],
): readonly Remaining[] {
  const nameserver = nameserverName(after, gone.name);
  const addresses = [gone.vantage.ipv4, gone.vantage.ipv6].filter((address) => address !== null);
  return [
    {
      where: 'registrar',
      what: `take out the nameserver ${nameserver} and its glue (${addresses.join(', ')}): resolvers still ask it. The DS records stay.`,
    },
    {
      where: 'certificates',
      what: `revoke the certificates for ${after.zone} and ${gone.name}.${after.zone} that were issued to ${gone.name}, with its ACME account (sites/${gone.name}/nameserver/acme-account-key), and take that account out of the CAA records (\`records\` in fleet.json).`,
    },
    {
      where: 'stacks',
      what: `in the stacks that remain: pulumi config set archipelago:manifestVersionMin ${after.version}, so that no new machine believes an older manifest.`,
    },
    {
      where: 'applications',
      what: `the token of ${gone.name} is worth nothing now: mint at the other sites.`,
    },
    {
      where: 'applications',
      what: `push URLs made before open with ring keys that ${gone.name} knew (${oldRingKeys.join(', ')}): have clients make new ones, then fleet keys rotate ring ID --retire for each.`,
    },
    {
      where: 'provider',
      what: `when its API answers: pulumi destroy in the stack of ${gone.name} (archipelago:protect false first). When it never will: pulumi state delete, or remove the stack with --force.`,
    },
  ];
}

/** Lines for people. */
export function remainsText(remaining: readonly Remaining[]): readonly string[] {
  return ['What remains to be done by hand:', ...remaining.map(({ where, what }) => `  ${where}: ${what}`)];
}
