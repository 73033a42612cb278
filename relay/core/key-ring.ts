/**
 * The secrets that all relays of the fleet share: the capability keys that seal push URLs, and the pepper that
 * turns mailbox ids into the tags they are stored under.
 *
 * A ring holds several capability keys so that one can be replaced: a new key is added for opening everywhere
 * before one relay mints with it, and an old one stays until the last push URL sealed with it has expired.
 */
import { fail, ok, type Result } from '../../system/result.ts';

export interface CapabilityKey {
  /** 4 bytes as base64url, 6 characters: travels in clear at the head of each push URL. */
  readonly id: string;
  readonly key: Uint8Array;
}

export interface KeyRing {
  readonly keys: ReadonlyMap<string, CapabilityKey>;
  /** The key that new push URLs are sealed with. */
  readonly minting: CapabilityKey;
  readonly pepper: Uint8Array;
}

const KEYS_MAX = 16;
const KEY_ID_BYTES = 4;

/**
 * Parses the secrets file: `{"capabilityKeys": [{"id", "key", "mint"?}, …], "pepper"}`, keys and pepper 32 bytes as
 * base64url, exactly one key with `mint: true`. Faults never repeat what was read.
 */
export function parseKeyRing(text: string): Result<KeyRing, readonly string[]> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail(['secrets: expected JSON']);
  }
  const root = asRecord(value);
  const list: unknown = root['capabilityKeys'];
  const entries = Array.isArray(list) && list.length <= KEYS_MAX ? list.map(asRecord) : [];
  const faults: string[] = [];
  if (entries.length === 0) faults.push(`secrets.capabilityKeys: expected a list of 1 to ${KEYS_MAX} keys`);
  const keys = new Map<string, CapabilityKey>();
  let minting: CapabilityKey | undefined;
  for (const [index, entry] of entries.entries()) {
    const at = `secrets.capabilityKeys[${index}]`;
    const id = entry['id'];
    const key = secretBytes(entry['key']);
    if (!isKeyId(id) || keys.has(id)) {
      faults.push(`${at}.id: expected 4 bytes as base64url, different from the others`);
    } else if (key === undefined) faults.push(`${at}.key: expected 32 bytes as base64url`);
    else {
      keys.set(id, { id, key });
      if (entry['mint'] === true && minting !== undefined) faults.push(`${at}.mint: only one key may mint`);
      if (entry['mint'] === true) minting = { id, key };
    }
  }
  const pepper = secretBytes(root['pepper']);
  if (pepper === undefined) faults.push('secrets.pepper: expected 32 bytes as base64url');
  if (minting === undefined) faults.push('secrets.capabilityKeys: expected one key with "mint": true');
  if (faults.length > 0 || minting === undefined || pepper === undefined) return fail(faults);
  return ok({ keys, minting, pepper });
}

/** In its only spelling: a push URL carries the bytes, and what they are called here is looked up. */
function isKeyId(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const bytes = Buffer.from(value, 'base64url');
  return bytes.length === KEY_ID_BYTES && bytes.toString('base64url') === value;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function secretBytes(value: unknown): Uint8Array | undefined {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(value)) return undefined;
  return Buffer.from(value, 'base64url');
}
