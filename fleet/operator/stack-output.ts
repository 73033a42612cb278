/**
 * What `pulumi stack output --json` of one or several stacks says of the sites' addresses, and the draft with them.
 * Shape: infra/site.ts, `Site`. A stack's other outputs are nobody's business here.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { fail, ok, type Result } from '../../system/result.ts';
import { JsonReader } from '../manifest/json-reader.ts';
import type { SiteEntry, SiteName } from '../manifest/manifest.ts';
import { type Draft, draftFaults } from './draft.ts';

export interface SiteAddresses {
  readonly site: SiteName;
  readonly relay: { readonly ipv4: readonly string[]; readonly ipv6: readonly string[] };
  readonly nameserver: { readonly ipv4: string | null; readonly ipv6: string | null };
}

/** Reads one file; `from` names it in faults, which are sentences. */
export function parseStackOutput(
  text: string,
  from: string,
): Result<readonly SiteAddresses[], readonly string[]> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail([`${from}: no JSON; expected what \`pulumi stack output --json\` prints.`]);
  }
  const faults: string[] = [];
  const root = new JsonReader(value, from, faults);
  if (faults.length > 0) return fail(faults);
  if (!root.has('sites')) {
    return fail([`${from}: has no sites; has \`pulumi up\` of this stack run to its end?`]);
  }
  const names = Object.keys((value as { sites: object | null }).sites ?? {});
  const sites = root.child('sites');
  const read = names.map((name) => readSite(name, sites.child(name)));
  if (names.length === 0)
    faults.push(`${from}: has no sites; has \`pulumi up\` of this stack run to its end?`);
  return faults.length === 0 ? ok(read) : fail(faults);
}

function readSite(site: SiteName, at: JsonReader): SiteAddresses {
  const relay = at.child('relay');
  const nameserver = at.child('nameserver');
  return {
    site,
    relay: {
      ipv4: relay.strings('ipv4', 0, 8, isIPv4),
      ipv6: relay.strings('ipv6', 0, 8, isIPv6),
    },
    nameserver: {
      ipv4: nameserver.has('ipv4') ? nameserver.nullable('ipv4', isIPv4) : null,
      ipv6: nameserver.has('ipv6') ? nameserver.nullable('ipv6', isIPv6) : null,
    },
  };
}

/** The draft with these addresses. Faults are sentences, all at once. */
export function withAddresses(
  draft: Draft,
  found: readonly SiteAddresses[],
): Result<Draft, readonly string[]> {
  const known = draft.manifest.sites.map(({ name }) => name);
  const faults = [
    ...found
      .filter(({ site }) => !known.includes(site))
      .map(
        ({ site }) => `The stack has a site ${site} that has no keys here: \`fleet add-site ${site}\` first.`,
      ),
    ...found
      .filter(({ site }, index) => found.findIndex((other) => other.site === site) !== index)
      .map(({ site }) => `Site ${site} is in more than one of the files.`),
    ...found
      .filter(({ relay }) => relay.ipv4.length + relay.ipv6.length === 0)
      .map(({ site }) => `Site ${site} has no relay address.`),
    ...found
      .filter(({ nameserver }) => nameserver.ipv4 === null && nameserver.ipv6 === null)
      .map(({ site }) => `Site ${site} has no nameserver address.`),
  ];
  if (faults.length > 0) return fail(faults);
  const sites = draft.manifest.sites.map((entry): SiteEntry => {
    const addresses = found.find(({ site }) => site === entry.name);
    if (addresses === undefined) return entry;
    return {
      ...entry,
      relay: { ...entry.relay, ...addresses.relay },
      vantage: { ...entry.vantage, ...addresses.nameserver },
    };
  });
  const next = { ...draft, manifest: { ...draft.manifest, sites } };
  const wrong = draftFaults(next);
  return wrong.length === 0 ? ok(next) : fail(wrong);
}
