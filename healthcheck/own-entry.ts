/**
 * Whether the manifest says of this vantage what it is: its keys, whether it has a nameserver, and with which key it
 * signs. A manifest that says otherwise is refused by the machine it is wrong about, which is told at the push and not by
 * a nameserver that falls silent.
 */
import type { Manifest, SiteEntry, WitnessEntry } from '../fleet/manifest/manifest.ts';
import type { VantageConfig } from './config.ts';
import { siteNamed, vantageNamed } from './core/target.ts';
import { publicKeyText } from './dns/zone-keys.ts';

type Own = Pick<VantageConfig, 'site' | 'pin' | 'votePublicKey' | 'zoneKey' | 'dnsListen'>;

/** Sentences, none when all is well or the manifest does not have this vantage at all. */
export function ownEntryFaults(own: Own, manifest: Manifest): readonly string[] {
  const entry = vantageNamed(manifest, own.site);
  if (entry === undefined) return [];
  return [
    ...keyFaults(own, entry),
    ...nameserverFaults(own, siteNamed(manifest, own.site)),
    ...zoneKeyFaults(own, manifest),
  ];
}

function keyFaults({ votePublicKey, pin }: Own, { name, vantage }: WitnessEntry): readonly string[] {
  return [
    ...(vantage.voteKey === votePublicKey
      ? []
      : [`VANTAGE_VOTE_KEY: the manifest lists another public key for ${name} (vantage.voteKey)`]),
    ...(vantage.pins.includes(pin)
      ? []
      : [`VANTAGE_TLS_CERTIFICATE: the manifest does not list its key for ${name} (vantage.pins)`]),
  ];
}

/** A site answers DNS, a witness does not. */
function nameserverFaults({ site, dnsListen }: Own, entry: SiteEntry | undefined): readonly string[] {
  if ((entry !== undefined) === (dnsListen !== undefined)) return [];
  return entry === undefined
    ? [`VANTAGE_DNS_LISTEN: ${site} is a witness, which has no nameserver; leave it out`]
    : ['VANTAGE_DNS_LISTEN: expected an IP address and a port, such as 192.0.2.7:53, got nothing'];
}

/** A signature under a key that is not in the set would make every answer of this nameserver bogus. */
function zoneKeyFaults({ site, zoneKey, dnsListen }: Own, { zoneKeys }: Manifest): readonly string[] {
  if (zoneKeys === undefined || dnsListen === undefined) return [];
  if (zoneKey === undefined)
    return ['VANTAGE_ZONE_KEY: the zone is signed (zoneKeys), so this site needs its key'];
  const publicKey = publicKeyText(zoneKey);
  return zoneKeys.keys.some((one) => one.site === site && one.publicKey === publicKey)
    ? []
    : [`VANTAGE_ZONE_KEY: the manifest does not list its public key for ${site} (zoneKeys)`];
}
