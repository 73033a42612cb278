/**
 * What the registrar of the parent zone needs: the names of the nameservers, their addresses (glue, since the names
 * are inside the zone) and the DS records of the operators' zone keys (RFC 1034 §4.2.1, RFC 4034 §5).
 */
import { nameserverName } from '../../healthcheck/core/zone.ts';
import { dsRecords } from '../../healthcheck/dns/zone-keys.ts';
import type { Manifest } from '../manifest/manifest.ts';

export interface Delegation {
  readonly zone: string;
  readonly nameservers: readonly {
    readonly name: string;
    readonly site: string;
    readonly ipv4: string | null;
    readonly ipv6: string | null;
  }[];
  /** Whole records in presentation format. */
  readonly ds: readonly string[];
}

/** The delegation of the manifest's zone. */
export function delegationOf(manifest: Manifest): Delegation {
  return {
    zone: manifest.zone,
    nameservers: manifest.sites.map(({ name, vantage }) => ({
      name: nameserverName(manifest, name),
      site: name,
      ipv4: vantage.ipv4,
      ipv6: vantage.ipv6,
    })),
    ds: manifest.zoneKeys === undefined ? [] : dsRecords(manifest.zone, manifest.zoneKeys),
  };
}

/** As a zone file has it (RFC 1035 §5), to be pasted into the parent or typed into a registrar's form. */
export function delegationText({ zone, nameservers, ds }: Delegation): readonly string[] {
  return [
    ...nameservers.map(({ name }) => `${zone}. IN NS ${name}.`),
    ...nameservers.flatMap(({ name, ipv4, ipv6 }) => [
      ...(ipv4 === null ? [] : [`${name}. IN A ${ipv4}`]),
      ...(ipv6 === null ? [] : [`${name}. IN AAAA ${ipv6}`]),
    ]),
    ...ds,
  ];
}
