/**
 * What vantages log about their decisions, read back: the drill's source for when a failure was noticed, believed
 * and acted upon.
 */
import { askPrivate } from '../local/private-http.ts';

export type VantageEvent =
  | {
      readonly kind: 'verdict';
      readonly atMs: number;
      readonly vantage: string;
      readonly site: string;
      readonly value: string;
    }
  | {
      readonly kind: 'health';
      readonly atMs: number;
      readonly vantage: string;
      readonly site: string;
      readonly value: string;
    }
  | {
      readonly kind: 'answer';
      readonly atMs: number;
      readonly vantage: string;
      readonly sites: readonly string[];
    };

/** The event in a line of a vantage's log, or undefined when it is another one. Never throws. */
export function parseVantageLine(line: string): VantageEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const { event, mono: atMs, site: vantage } = fields;
  if (typeof atMs !== 'number' || typeof vantage !== 'string') return undefined;
  const target = String(fields['target']);
  switch (event) {
    case 'verdict':
      return { kind: 'verdict', atMs, vantage, site: target, value: String(fields['verdict']) };
    case 'health':
      return { kind: 'health', atMs, vantage, site: target, value: String(fields['health']) };
    case 'answer':
      return { kind: 'answer', atMs, vantage, sites: String(fields['sites']).split(',') };
    default:
      return undefined;
  }
}

const STATUS_TIMEOUT_MS = 1000;

/** What a vantage, asked at its private port, holds the health of each site to be; nothing when it does not answer. */
export async function readHealths(address: string, port: number): Promise<readonly string[]> {
  try {
    const { body } = await askPrivate(address, port, '/status', STATUS_TIMEOUT_MS);
    const { sites } = JSON.parse(body) as { readonly sites: readonly { readonly health: string }[] };
    return sites.map(({ health }) => health);
  } catch {
    return [];
  }
}
