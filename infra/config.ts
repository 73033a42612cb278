/**
 * The stack's configuration, checked before any resource is registered: every fault at once, with its path and the
 * command that mends it.
 */
import { fail, ok, type Result } from '../system/result.ts';
import type { SiteSpec } from './site.ts';

const PROVIDERS = ['aws', 'gcp', 'hetzner'] as const;
const SITES_MAX = 16;
const MEND =
  'pulumi config set --path archipelago:sites[0].name aws (and .provider, .location in the same way)';

/** `value` is what the stack file says under `archipelago:sites`. */
export function parseSites(value: unknown): Result<readonly SiteSpec[], readonly string[]> {
  if (!Array.isArray(value) || value.length === 0 || value.length > SITES_MAX) {
    return fail([`archipelago:sites: expected a list of 1 to ${SITES_MAX} sites; run ${MEND}`]);
  }
  const faults: string[] = [];
  const specs: SiteSpec[] = [];
  for (const [index, item] of value.entries()) {
    const at = `archipelago:sites[${index}]`;
    const given = new Map<string, unknown>(
      typeof item === 'object' && item !== null ? Object.entries(item) : [],
    );
    const name = given.get('name');
    const provider = PROVIDERS.find((known) => known === given.get('provider'));
    const location = given.get('location');
    const set = (field: string, example: string): string =>
      `run pulumi config set --path '${at}.${field}' ${example}`;
    if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,15}$/.test(name)) {
      faults.push(
        `${at}.name: expected 1 to 16 of a-z 0-9 -, beginning with a letter; ${set('name', 'aws')}`,
      );
    } else if (specs.some((spec) => spec.name === name)) {
      faults.push(`${at}.name: "${name}" is used twice; ${set('name', `${name}-2`)}`);
    } else if (provider === undefined) {
      faults.push(`${at}.provider: expected ${PROVIDERS.join(', ')}; ${set('provider', 'aws')}`);
    } else if (typeof location !== 'string' || !/^[a-z][a-z0-9-]{1,31}$/.test(location)) {
      faults.push(`${at}.location: expected the provider's name of a region; ${set('location', 'fsn1')}`);
    } else specs.push({ name, provider, location });
    for (const field of given.keys()) {
      if (!['name', 'provider', 'location'].includes(field)) {
        faults.push(`${at}.${field}: no such field; run pulumi config rm --path '${at}.${field}'`);
      }
    }
  }
  return faults.length === 0 ? ok(specs) : fail(faults);
}
