/**
 * What a client knows of the fleet: the canonical name, and the sites behind it with their providers. Either
 * configured, or asked of a relay (`GET /v1/info`), or just the name, when DNS shall decide.
 */
import { ProtocolError } from './errors.ts';
import type { RequestLimits, Transport } from './transport.ts';

export interface Site {
  /** `https://aws.relay.example.com` */
  readonly origin: string;
  /** The company that can fail as a whole. A client spreads over providers, not over sites. */
  readonly provider: string;
}

export interface Fleet {
  /** `https://relay.example.com`: leads to any site that is up. */
  readonly canonicalOrigin: string;
  /** At least one. */
  readonly sites: readonly Site[];
}

/** What `GET /v1/info` says. */
export interface RelayInfo {
  readonly sites: readonly Site[];
  /** The origin of the site that answered, for which mailbox tokens are made. */
  readonly audience: string;
  /** Bytes. */
  readonly bodyBytesMax: number;
  /** The relay's wall clock, milliseconds since 1970. */
  readonly timeMs: number;
}

export const SITES_MAX = 16;

/** A fleet of which only the name is known: the resolver decides which site a connection leads to. */
export function dnsOnlyFleet(canonicalOrigin: string): Fleet {
  return { canonicalOrigin, sites: [{ origin: canonicalOrigin, provider: 'any' }] };
}

/** Asks a relay for the sites. Throws `TransportError` or `ProtocolError`. */
export async function discoverFleet(
  transport: Transport,
  canonicalOrigin: string,
  timeoutMs: number,
): Promise<Fleet> {
  const { sites } = await fetchInfo(transport, canonicalOrigin, { timeoutMs });
  return { canonicalOrigin, sites };
}

/** `GET /v1/info`. Throws `TransportError` or `ProtocolError`, or the reason of the signal. */
export async function fetchInfo(
  transport: Transport,
  origin: string,
  limits: RequestLimits,
): Promise<RelayInfo> {
  const path = '/v1/info';
  const response = await transport.request({ origin, method: 'GET', path, headers: {} }, limits);
  const info = response.status === 200 ? parseInfo(response.body) : undefined;
  if (info === undefined) throw new ProtocolError('no information about the fleet');
  return info;
}

/** Undefined unless the body is what docs/protocol.md says. Never throws. */
export function parseInfo(body: Uint8Array): RelayInfo | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { sites: listed, audience, bodyBytesMax, timeMs } = value as Readonly<Record<string, unknown>>;
  if (!Array.isArray(listed) || listed.length === 0 || listed.length > SITES_MAX) return undefined;
  const sites = listed.map(parseSite).filter((site) => site !== undefined);
  const numbersFit = Number.isSafeInteger(bodyBytesMax) && Number.isSafeInteger(timeMs);
  if (sites.length !== listed.length || !numbersFit || typeof audience !== 'string') return undefined;
  return { sites, audience, bodyBytesMax: Number(bodyBytesMax), timeMs: Number(timeMs) };
}

function parseSite(value: unknown): Site | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, origin, provider } = value as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string' || typeof origin !== 'string' || URL.parse(origin)?.origin !== origin) {
    return undefined;
  }
  // A relay that does not name the provider has one site at each.
  return { origin, provider: typeof provider === 'string' ? provider : name };
}

/**
 * Whether a relay that was dialled at `origin` may ask for tokens for `audience`: for itself, or, dialled at the
 * canonical name, for a site one label below it. A site's own name has no sites below it, so no site gets a token
 * that is good at another.
 */
export function isAudienceOf(origin: string, audience: string): boolean {
  if (audience === origin) return true;
  const dialled = new URL(origin);
  const named = URL.parse(audience);
  if (named === null || named.origin !== audience) return false;
  if (named.protocol !== dialled.protocol || named.port !== dialled.port) return false;
  const [label, ...parents] = named.hostname.split('.');
  return label !== undefined && label !== '' && parents.join('.') === dialled.hostname;
}
