/**
 * The manifest: the signed, versioned description of the fleet, and the only source of addresses and keys that a
 * node believes. No provider owns it: the operators sign it with their offline key (`signed.ts`).
 *
 * Parsing (`parse.ts`) is whole or not at all, and the result is what everything else reads; nothing dials
 * an address that is not in it.
 */
export type SiteName = string;

/** How vantages judge sites; the same for every vantage of the fleet. Times in milliseconds, TTLs in seconds. */
export interface HealthPolicy {
  readonly probeIntervalMs: number;
  readonly probeTimeoutMs: number;
  /** Failures, not forgiven by `okAfter` successes in a row, that turn a verdict down. */
  readonly downAfter: number;
  /** Successes in a row that forgive earlier failures while the verdict is up. */
  readonly okAfter: number;
  /** Successes in a row that turn a verdict up again. */
  readonly upAfter: number;
  /** A vote older than this, by the receiver's monotonic clock, is no vote. */
  readonly voteFreshMs: number;
  /** At most one provider is withdrawn from the answer within this window. */
  readonly withdrawalWindowMs: number;
  /** For so long after its return a site comes first in fewer answers than its weight would give it. */
  readonly warmUpMs: number;
  /** Between two messages that a vantage sends through one site and fetches through another; 0: none. */
  readonly canaryIntervalMs: number;
  readonly ttlMinSeconds: number;
  readonly ttlMaxSeconds: number;
}

/**
 * `spread`: every site that is up is given out, each comes first as often as its weight says. `priority`: the sites
 * of greatest weight come first, and others only until two providers are in the answer.
 */
type Steering = (typeof STEERINGS)[number];
export const STEERINGS = ['spread', 'priority'] as const;

/**
 * An operator's word about a site, beside what is measured. `serving`: as if it were measured up. `draining`: not
 * given out while another site is up. `drained`: nor when all others are down.
 */
export type OverrideState = (typeof OVERRIDE_STATES)[number];
export const OVERRIDE_STATES = ['serving', 'draining', 'drained'] as const;

export interface Overrides {
  readonly sites: readonly {
    readonly site: SiteName;
    readonly state: OverrideState;
    /** Milliseconds since 1970; from then on only the measured health counts. */
    readonly untilWallMs: number;
  }[];
  /** Until then, milliseconds since 1970, no measurement changes an answer; null: measurements do. */
  readonly frozenUntilWallMs: number | null;
}

export const NO_OVERRIDES: Overrides = { sites: [], frozenUntilWallMs: null };

/** A place outside the fleet: who completes a verified TLS handshake with it is not cut off from the world. */
export interface ExternalCanary {
  readonly address: string;
  readonly port: number;
  /** The name that its certificate must be valid for. */
  readonly name: string;
}

/** How one vantage is reached and believed. */
export interface VantageEntry {
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  /** Where other vantages post their votes. */
  readonly votePort: number;
  readonly pins: readonly string[];
  /** Ed25519 public key that signs its votes, 32 bytes as base64url. */
  readonly voteKey: string;
  /**
   * SHA-256 of the operator token with which it makes push URLs at every site, for its message canaries, 32 bytes as
   * base64url. Absent: it needs none, or relays have it from a file.
   */
  readonly operatorTokenHash?: string;
}

/** A vantage without a relay: it looks and votes, and nobody is sent there. */
export interface WitnessEntry {
  readonly name: SiteName;
  readonly provider: string;
  readonly vantage: VantageEntry;
}

export interface SiteEntry {
  readonly name: SiteName;
  /** The company that can fail or evict as a whole; two sites may share one. */
  readonly provider: string;
  /** Its share of clients in proportion to the others', or its rank: see `Steering`. */
  readonly weight: number;
  readonly relay: {
    readonly ipv4: readonly string[];
    readonly ipv6: readonly string[];
    /** SHA-256 pins of the keys that this site's relays show to peers, base64url. */
    readonly pins: readonly string[];
  };
  readonly vantage: VantageEntry & {
    /** Where its nameserver answers, UDP and TCP; 53 in production. */
    readonly dnsPort: number;
  };
}

/** A record set of the operators' own: proof of ownership, CAA, HTTPS and the like. */
export interface ExtraRecordSet {
  /** Below the zone, such as `_mta-sts`; empty for the zone itself. */
  readonly name: string;
  /** `TXT`, `CAA`, `HTTPS`, or any other by number, such as `TYPE52` (RFC 3597). */
  readonly type: string;
  readonly ttlSeconds: number;
  /** In presentation format, one text for each record: docs/configuration-vantage.md. */
  readonly data: readonly string[];
}

/** A DNSKEY with algorithm 13, ECDSA P-256 with SHA-256 (RFC 6605). */
export interface ZoneKey {
  /** The site whose nameserver signs with it, or null for a key of the operators, which signs only this set. */
  readonly site: SiteName | null;
  /** The point without its prefix, 64 bytes as base64url. */
  readonly publicKey: string;
}

/** The zone's DNSKEY set and what the operators' offline keys signed over it (RFC 8901: one signing key per site). */
export interface ZoneKeySet {
  readonly ttlSeconds: number;
  readonly keys: readonly ZoneKey[];
  readonly signatures: readonly {
    readonly keyTag: number;
    /** Seconds since 1970, below 2^32. */
    readonly inceptionSeconds: number;
    readonly expirationSeconds: number;
    /** 64 bytes as base64url. */
    readonly signature: string;
  }[];
}

/** A key of somebody on call: it may sign overrides that expire (`overrides.ts`), and nothing else. */
export interface OnCallKey {
  readonly name: string;
  /** Ed25519, 32 bytes as base64url. */
  readonly publicKey: string;
}

/** The relays' common secrets, sealed for those who hold one peer key of a site (`relay-secrets.ts`). */
export interface SealedRelaySecrets {
  readonly site: SiteName;
  /** Compact JWE (RFC 7516). */
  readonly jwe: string;
}

export interface Manifest {
  readonly format: 1;
  /** Grows with every signed change; a node never goes back. */
  readonly version: number;
  /** The delegated zone and canonical name of the service, lower case, without the final dot. */
  readonly zone: string;
  /** TCP port at which every relay serves clients and peers; 443 in production, since A records carry no port. */
  readonly port: number;
  readonly sites: readonly SiteEntry[];
  readonly witnesses: readonly WitnessEntry[];
  readonly health: HealthPolicy;
  /** Records beside those of the fleet itself; absent: none. */
  readonly records?: readonly ExtraRecordSet[];
  /** Absent: the zone is not signed. */
  readonly zoneKeys?: ZoneKeySet;
  /** Absent: only the operators' key signs overrides. */
  readonly onCallKeys?: readonly OnCallKey[];
  /** Absent, or without the own site: relays have their secrets from a file. */
  readonly relaySecrets?: readonly SealedRelaySecrets[];
  readonly steering: Steering;
  readonly externalCanaries: readonly ExternalCanary[];
  readonly overrides: Overrides;
}

/** The default profile. Reasons and bounds: docs/configuration-vantage.md. */
export const DEFAULT_HEALTH_POLICY: HealthPolicy = {
  probeIntervalMs: 2000,
  probeTimeoutMs: 1000,
  downAfter: 3,
  okAfter: 5,
  upAfter: 10,
  voteFreshMs: 6000,
  withdrawalWindowMs: 60_000,
  warmUpMs: 60_000,
  canaryIntervalMs: 10_000,
  ttlMinSeconds: 5,
  ttlMaxSeconds: 60,
};

/** The weight of a site when no site differs from the others. */
export const WEIGHT_DEFAULT = 10;

/** Everybody who votes: the vantages of all sites, and the witnesses. */
export function vantagesOf(manifest: Pick<Manifest, 'sites' | 'witnesses'>): readonly WitnessEntry[] {
  return [...manifest.sites, ...manifest.witnesses];
}

/** `https://relay.example.com`, with the port when it is not 443. */
export function canonicalOrigin(manifest: Pick<Manifest, 'zone' | 'port'>): string {
  return originOf(manifest.zone, manifest.port);
}

/** `https://aws.relay.example.com`: this one site, never failed over; also the audience of mailbox tokens. */
export function siteOrigin(manifest: Pick<Manifest, 'zone' | 'port'>, site: SiteName): string {
  return originOf(`${site}.${manifest.zone}`, manifest.port);
}

/** The name in a peer's ClientHello that leads to the peer service of a site's relays. */
export function peerServerName(manifest: Pick<Manifest, 'zone'>, site: SiteName): string {
  return `peer.${site}.${manifest.zone}`;
}

function originOf(host: string, port: number): string {
  return port === 443 ? `https://${host}` : `https://${host}:${port}`;
}
