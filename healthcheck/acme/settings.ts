/**
 * The settings with which a vantage gets its site's certificate. All but the authority's directory are optional; without
 * a directory there is no ACME, and relays need files of the operators.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { JWK } from 'jose';
import { fail, ok, type Result } from '../../system/result.ts';
import { contentOf, optional, type Setting, type SettingsOf, text } from '../../system/settings.ts';
import type { ExternalBinding } from './account.ts';

export interface AcmeConfig {
  readonly directoryUrl: string;
  readonly contact: string | undefined;
  /** An authority that the ACME server's own certificate may come from, beside the usual ones, PEM. */
  readonly extraCa: string | undefined;
  /** P-256, private; undefined: the vantage makes its own. */
  readonly accountKey: JWK | undefined;
  readonly binding: ExternalBinding | undefined;
  readonly profile: string | undefined;
}

export type AcmeShape = {
  readonly VANTAGE_ACME_DIRECTORY: Setting<string | undefined>;
  readonly VANTAGE_ACME_CONTACT: Setting<string | undefined>;
  readonly VANTAGE_ACME_CA: Setting<string | undefined>;
  readonly VANTAGE_ACME_ACCOUNT_KEY: Setting<JWK | undefined>;
  readonly VANTAGE_ACME_BINDING: Setting<ExternalBinding | undefined>;
  readonly VANTAGE_ACME_PROFILE: Setting<string | undefined>;
};

const directoryUrl: Setting<string> = {
  expected: 'the https address of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory',
  parse: (given) => (URL.parse(given)?.protocol === 'https:' ? given : undefined),
};

const authorityFile = contentOf('a certificate authority (PEM)');
const authority: Setting<string> = {
  expected: authorityFile.expected,
  parse: (path) => {
    const pem = authorityFile.parse(path);
    try {
      return pem === undefined ? undefined : new X509Certificate(pem).toString();
    } catch {
      return undefined;
    }
  },
};

const keyFile = contentOf('an EC private key on P-256 (PKCS#8 PEM)');
const accountKey: Setting<JWK> = {
  expected: keyFile.expected,
  parse: (path) => {
    const pem = keyFile.parse(path);
    return pem === undefined ? undefined : parseAccountKey(pem);
  },
};

const bindingFile = contentOf('the key id and the HMAC key (base64url) of an external account binding');
const binding: Setting<ExternalBinding> = {
  expected: bindingFile.expected,
  secret: true,
  parse: (path) => {
    const [keyId = '', hmac = '', ...more] = (bindingFile.parse(path) ?? '').trim().split(/\s+/);
    const isWhole = keyId !== '' && /^[A-Za-z0-9_-]{22,}={0,2}$/.test(hmac) && more.length === 0;
    return isWhole ? { keyId, hmacKey: Buffer.from(hmac, 'base64url') } : undefined;
  },
};

export const ACME_SETTINGS: AcmeShape = {
  VANTAGE_ACME_DIRECTORY: optional(directoryUrl),
  VANTAGE_ACME_CONTACT: optional(
    text('an address such as mailto:ops@example.com', /^mailto:[^\s@]+@[^\s@]+$/),
  ),
  VANTAGE_ACME_CA: optional(authority),
  VANTAGE_ACME_ACCOUNT_KEY: optional(accountKey),
  VANTAGE_ACME_BINDING: optional(binding),
  VANTAGE_ACME_PROFILE: optional(text('the name of a profile of the authority', /^[\w.-]{1,64}$/)),
};

/** Undefined without a directory; then every other setting of ACME is a fault. */
export function acmeConfigOf(
  values: SettingsOf<AcmeShape>,
  hasNameserver: boolean,
): Result<AcmeConfig | undefined, string> {
  const { VANTAGE_ACME_DIRECTORY: url } = values;
  if (url === undefined) {
    const lonely = Object.keys(ACME_SETTINGS).find((name) => values[name as keyof AcmeShape] !== undefined);
    return lonely === undefined
      ? ok(undefined)
      : fail(`${lonely}: means nothing without VANTAGE_ACME_DIRECTORY`);
  }
  if (!hasNameserver) {
    return fail('VANTAGE_ACME_DIRECTORY: a witness has no relays that need a certificate; leave it out');
  }
  return ok({
    directoryUrl: url,
    contact: values.VANTAGE_ACME_CONTACT,
    extraCa: values.VANTAGE_ACME_CA,
    accountKey: values.VANTAGE_ACME_ACCOUNT_KEY,
    binding: values.VANTAGE_ACME_BINDING,
    profile: values.VANTAGE_ACME_PROFILE,
  });
}

/** An EC private key on P-256 in PEM as a JWK (RFC 7517); undefined for everything else. */
export function parseAccountKey(pem: string): JWK | undefined {
  try {
    const jwk = createPrivateKey(pem).export({ format: 'jwk' });
    return jwk.kty === 'EC' && jwk.crv === 'P-256' ? jwk : undefined;
  } catch {
    return undefined;
  }
}
