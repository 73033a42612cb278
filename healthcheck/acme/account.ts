/**
 * The account with which a site asks for certificates (RFC 8555 §7.3). Its URL is what a CAA record names
 * (RFC 8657), so that nobody else who can answer for the zone gets a certificate for it.
 */
import { FlattenedSign, type JWK } from 'jose';
import { AcmeFailure } from './fault.ts';
import { type AcmeSession, publicHalf } from './session.ts';

/** What ties an account to a customer of the authority (RFC 8555 §7.3.4). */
export interface ExternalBinding {
  readonly keyId: string;
  readonly hmacKey: Uint8Array;
}

export interface AccountOptions {
  readonly accountKey: JWK;
  /** Such as `mailto:ops@example.com`; undefined: none. */
  readonly contact: string | undefined;
  readonly binding: ExternalBinding | undefined;
}

/** The URL of the account of this key, which is made when there is none; the session signs with it from now on. */
export async function openAccount(session: AcmeSession, options: AccountOptions): Promise<string> {
  const newAccount = await session.url('newAccount');
  if (newAccount === undefined) throw new AcmeFailure('not_acme', 'the directory names no newAccount');
  const reply = await session.post(
    newAccount,
    {
      // Whoever configures the authority's address agrees to its terms: docs/certificates.md.
      termsOfServiceAgreed: true,
      ...(options.contact === undefined ? {} : { contact: [options.contact] }),
      ...(options.binding === undefined
        ? {}
        : { externalAccountBinding: await bind(options.accountKey, options.binding, newAccount) }),
    },
    'account_refused',
  );
  const { location } = reply.headers;
  if (location === undefined) throw new AcmeFailure('not_acme', 'the account has no URL');
  session.use(location);
  return location;
}

async function bind(accountKey: JWK, { keyId, hmacKey }: ExternalBinding, url: string): Promise<object> {
  return new FlattenedSign(new TextEncoder().encode(JSON.stringify(publicHalf(accountKey))))
    .setProtectedHeader({ alg: 'HS256', kid: keyId, url })
    .sign(hmacKey);
}
